#include <oncemark/core/backoff.hpp>

#include <algorithm>
#include <cmath>
#include <string>

#include <oncemark/core/error.hpp>

namespace oncemark {
namespace {

void require(bool is_allowed, const char* field, const std::string& value, const char* range) {
  if (is_allowed) return;
  throw MisuseError("Backoff::" + std::string(field) + " is " + value + "; allowed: " + range);
}

std::string text(std::chrono::milliseconds time) { return std::to_string(time.count()) + " ms"; }

// Evenly from [0, 1): the 53 high bits, as many as a double holds.
double unit_interval(std::uint64_t random) { return static_cast<double>(random >> 11) * 0x1p-53; }

}  // namespace

void Backoff::validate() const {
  require(initial.count() > 0, "initial", text(initial), "above 0 ms");
  require(factor >= 1 && factor <= 100, "factor", std::to_string(factor), "1 to 100");
  require(cap >= initial, "cap", text(cap), "not below initial");
  require(jitter >= 0 && jitter <= 1, "jitter", std::to_string(jitter), "0 to 1");
}

std::chrono::milliseconds delay_after(const Backoff& backoff, int failures, std::uint64_t random) {
  const double cap = static_cast<double>(backoff.cap.count());
  const double grown =
      static_cast<double>(backoff.initial.count()) * std::pow(backoff.factor, std::max(failures, 1) - 1);
  // The comparison comes first: a power that overflowed must not reach the cast.
  const double full = grown < cap ? std::floor(grown) : cap;
  const double delay = std::ceil(full - full * backoff.jitter * unit_interval(random));
  return delay < cap ? std::chrono::milliseconds{static_cast<std::int64_t>(delay)} : backoff.cap;
}

}  // namespace oncemark
