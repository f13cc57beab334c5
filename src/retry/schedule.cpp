#include <oncemark/retry/schedule.hpp>

#include <algorithm>
#include <cmath>
#include <string>

#include <oncemark/core/backoff.hpp>
#include <oncemark/core/error.hpp>

namespace oncemark::retry {
namespace {

constexpr std::size_t kMostDelays = 1'000;

[[noreturn]] void refuse(const std::string& field, const std::string& what) {
  throw ConfigError(field, field + " " + what);
}

void check(const char* field, const char* what, Schedule::Delay delay) {
  if (delay >= Schedule::Delay::zero() && delay <= kLongestDelay) return;
  refuse(field, "has " + std::string(what) + " of " + std::to_string(delay.count()) + " ms; allowed: 0 ms to 30 days");
}

}  // namespace

Schedule Schedule::capped(Delay longest) const {
  Schedule schedule = *this;
  schedule.cap_ = longest;
  return schedule;
}

Schedule Schedule::jitter(double share) const {
  Schedule schedule = *this;
  schedule.jitter_ = share;
  return schedule;
}

Schedule::Delay Schedule::after(int failures, std::uint64_t random) const {
  const int n = std::max(failures, 1);
  // In double, because what has overflowed is above the cap and no longer matters.
  double grown = 0;
  switch (kind_) {
    case Kind::list:
      grown = static_cast<double>(list_[std::min(static_cast<std::size_t>(n), list_.size()) - 1].count());
      break;
    case Kind::linear:
      grown = static_cast<double>(initial_.count()) + static_cast<double>(step_.count()) * (n - 1);
      break;
    case Kind::exponential:
      grown = static_cast<double>(initial_.count()) * std::pow(factor_, n - 1);
      break;
  }
  const double cap = static_cast<double>(cap_.count());
  const Delay full = grown < cap ? Delay(static_cast<Delay::rep>(grown)) : cap_;
  return delay_after({.initial = full, .factor = 1.0, .cap = full, .jitter = jitter_}, 1, random);
}

std::optional<int> Schedule::length() const noexcept {
  if (kind_ != Kind::list) return std::nullopt;
  return static_cast<int>(list_.size());
}

void Schedule::validate(const char* field) const {
  if (kind_ == Kind::list && (list_.empty() || list_.size() > kMostDelays)) {
    refuse(field, "has " + std::to_string(list_.size()) +
                      " entries; allowed: 1 to 1,000 (for no retry at all, set max_attempts to 1)");
  }
  for (const Delay delay : list_) check(field, "a delay", delay);
  check(field, "a first delay", initial_);
  check(field, "a step", step_);
  check(field, "a cap", cap_);
  if (!(factor_ >= 1 && factor_ <= 100)) {
    refuse(field, "has the factor " + std::to_string(factor_) + "; allowed: 1 to 100");
  }
  if (!(jitter_ >= 0 && jitter_ <= 1)) {
    refuse(field, "has the jitter " + std::to_string(jitter_) + "; allowed: 0 to 1");
  }
}

}  // namespace oncemark::retry
