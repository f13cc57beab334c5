#include <oncemark/consume/breaker.hpp>

#include <algorithm>
#include <functional>
#include <set>

#include <oncemark/core/error.hpp>

namespace oncemark::consume {
namespace {

void require(bool holds, const char* field, std::int64_t value, const char* range) {
  if (holds) return;
  const std::string name = std::string("BreakerOptions::") + field;
  throw ConfigError(name, name + " is " + std::to_string(value) + "; it must be " + range);
}

std::uint64_t hash(std::string_view text) noexcept { return std::hash<std::string_view>{}(text); }

}  // namespace

void BreakerOptions::validate() const {
  require(keys == 0 || (keys >= 2 && keys <= 1'000), "keys", static_cast<std::int64_t>(keys), "0, or 2 to 1,000");
  require(window.count() >= 1 && window.count() <= 3'600, "window", window.count(), "1 to 3,600 s");
  require(first_probe.count() > 0, "first_probe", first_probe.count(), "above 0 ms");
  require(longest_probe >= first_probe, "longest_probe", longest_probe.count(), "at least first_probe");
}

Breaker::Breaker(BreakerOptions options) : options_(options) { options_.validate(); }

void Breaker::succeeded(std::size_t messages, SteadyTime now) {
  if (is_open_) return;  // begun before it opened; only the probe counts now
  for (std::size_t i = std::min(messages, 2 * options_.keys); i > 0; --i) add({.at = now});
}

bool Breaker::failed(std::string_view error_class, std::string_view key, SteadyTime now) {
  if (is_open_) return true;
  if (options_.keys == 0) return false;
  const std::uint64_t alike = hash(error_class);
  const std::uint64_t failed = hash(key);
  // Groups take all that waits of a key: its repeats must not push other keys out of sight.
  std::erase_if(last_, [&](const Outcome& outcome) {
    return outcome.has_failed && outcome.error_class == alike && outcome.key == failed;
  });
  add({.at = now, .error_class = alike, .key = failed, .has_failed = true});
  while (now - last_.front().at > options_.window) last_.pop_front();
  if (keys_that_failed_like(alike) < options_.keys) return false;
  open(error_class, now);
  return true;
}

void Breaker::open(std::string_view reason, SteadyTime now) {
  if (is_open_) return;
  is_open_ = true;
  is_probing_ = false;
  reason_ = reason;
  opened_at_ = now;
  interval_ = options_.first_probe;
  next_probe_ = now + interval_;
}

Breaker::Turn Breaker::turn(SteadyTime now) {
  using What = Turn::What;
  if (!is_open_) return {};
  if (is_probing_) return {.what = What::wait, .wait = options_.longest_probe};
  if (now < next_probe_) {
    return {.what = What::wait, .wait = std::chrono::ceil<std::chrono::milliseconds>(next_probe_ - now)};
  }
  is_probing_ = true;
  return {.what = What::probe};
}

void Breaker::probe_succeeded(SteadyTime now) {
  is_open_ = is_probing_ = false;
  last_.clear();
  add({.at = now});
}

void Breaker::probe_failed(SteadyTime now) {
  is_probing_ = false;
  interval_ = std::min(interval_ * 2, options_.longest_probe);
  next_probe_ = now + interval_;
}

void Breaker::add(const Outcome& outcome) {
  last_.push_back(outcome);
  while (last_.size() > 2 * options_.keys) last_.pop_front();
}

std::size_t Breaker::keys_that_failed_like(std::uint64_t error_class) const {
  std::set<std::uint64_t> keys;
  for (const Outcome& outcome : last_) {
    if (outcome.has_failed && outcome.error_class == error_class) keys.insert(outcome.key);
  }
  return keys.size();
}

}  // namespace oncemark::consume
