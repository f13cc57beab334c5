#pragma once

#include <chrono>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <utility>
#include <vector>

namespace oncemark::retry {

/// No message waits longer than this for its next delivery, whoever asks for it.
inline constexpr std::chrono::milliseconds kLongestDelay = std::chrono::hours(24 * 30);

/// How long a message waits after its first failure, its second, and so on.
///
/// Shape:   {5s, 60s} is a list, of which the last one repeats; fixed(), linear() and exponential() are rules. A cap
///          and jitter can be laid over each: exponential(1s).capped(15min).full_jitter().
/// Units:   0 to 30 days each; 0 is as soon as the relay sends it.
/// Threads: a value.
/// Errors:  validate() throws ConfigError naming `field`.
class Schedule {
 public:
  using Delay = std::chrono::milliseconds;

  Schedule(std::initializer_list<Delay> delays) : Schedule(std::vector<Delay>(delays)) {}
  Schedule(std::vector<Delay> delays) : kind_(Kind::list), list_(std::move(delays)) {}

  /// The same delay each time.
  [[nodiscard]] static Schedule fixed(Delay delay) { return Schedule({.kind = Kind::linear, .initial = delay}); }
  /// initial, initial + step, initial + 2 · step, …
  [[nodiscard]] static Schedule linear(Delay initial, Delay step) {
    return Schedule({.kind = Kind::linear, .initial = initial, .step = step});
  }
  /// initial, initial · factor, initial · factor², …; a factor from 1 to 100.
  [[nodiscard]] static Schedule exponential(Delay initial, double factor = 2.0) {
    return Schedule({.kind = Kind::exponential, .initial = initial, .factor = factor});
  }

  /// No delay is longer than `longest`.
  [[nodiscard]] Schedule capped(Delay longest) const;
  /// Each delay is drawn evenly from [d·(1 − share), d], so that what failed together does not come back together.
  [[nodiscard]] Schedule jitter(double share) const;
  /// Drawn from the whole of [0, d]: spreads best.
  [[nodiscard]] Schedule full_jitter() const { return jitter(1.0); }
  /// Drawn from [d/2, d]: spreads, and is never much too early.
  [[nodiscard]] Schedule equal_jitter() const { return jitter(0.5); }

  /// The delay after the `failures`-th failure (from 1), of which `random` (64 random bits) chooses the part that is
  /// drawn. Rounded up to a millisecond, never above 30 days.
  [[nodiscard]] Delay after(int failures, std::uint64_t random) const;
  /// How many delays a list has; nothing for a rule, which never ends.
  [[nodiscard]] std::optional<int> length() const noexcept;

  void validate(const char* field) const;

 private:
  enum class Kind { list, linear, exponential };
  struct Growth {
    Kind kind;
    Delay initial;
    Delay step{0};
    double factor = 1.0;
  };
  explicit Schedule(const Growth& growth)
      : kind_(growth.kind), initial_(growth.initial), step_(growth.step), factor_(growth.factor) {}

  Kind kind_;
  std::vector<Delay> list_ = {};
  Delay initial_{0};
  Delay step_{0};
  double factor_ = 1.0;
  Delay cap_ = kLongestDelay;
  double jitter_ = 0.0;
};

}  // namespace oncemark::retry
