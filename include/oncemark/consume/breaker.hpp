#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>
#include <string_view>

#include <oncemark/core/clock.hpp>

namespace oncemark::consume {

struct BreakerOptions {
  std::size_t keys = 30;  // so many different keys that failed alike, among the last 2 × keys first deliveries, stop
                          // the flow · fewer stops sooner and spends fewer attempts, more forgives bursts of bad input
                          // · 0 never stops it: a dead dependency then sends what arrives to retries and dead letters
                          // · 0 or 2 to 1,000
  std::chrono::seconds window{60};                  // older outcomes are forgotten · 1 s to 1 h
  std::chrono::milliseconds first_probe{1'000};     // from opening to the first probe · > 0
  std::chrono::milliseconds longest_probe{10'000};  // it doubles with each probe that fails, up to this · how late an
                                                    // outage's end is noticed · ≥ first_probe

  void validate() const;
};

/// The flood guard: tells a dependency that is down from messages that are bad, and says when to try again.
///
/// Shape:   closed: everything runs. It opens when `keys` different keys have failed with one error class among the
///          last 2 × keys first deliveries, in which a key that failed alike several times counts once (so at least half of everything fails, and alike: neither 1 % of bad
///          messages nor one key that fails for ever do that), or when open() is told of an outage. While it is open
///          nothing runs but one probe at a time, and no failure is to be routed. A probe that succeeds closes it
///          and forgets what was counted. Deliveries from the retry topic are not counted: they have failed before,
///          and come in waves.
/// Units:   the caller's monotonic clock, which must not go back.
/// Threads: one at a time; the runner guards it.
/// Errors:  the constructor throws ConfigError; the rest nothing.
/// Source:  design, decision 8.
class Breaker {
 public:
  struct Turn {
    enum class What { run, probe, wait } what = What::run;
    std::chrono::milliseconds wait{0};  // with What::wait: ask again after it, or when the breaker has changed
  };

  explicit Breaker(BreakerOptions options = {});

  /// So many first deliveries took effect.
  void succeeded(std::size_t messages, SteadyTime now);
  /// A first delivery failed. True: the breaker is open (now, or was already), and the failure must not be routed.
  [[nodiscard]] bool failed(std::string_view error_class, std::string_view key, SteadyTime now);
  /// What the handler needs is down; `reason` is the error class.
  void open(std::string_view reason, SteadyTime now);

  [[nodiscard]] bool is_open() const noexcept { return is_open_; }
  /// Error class that opened it last.
  [[nodiscard]] const std::string& reason() const noexcept { return reason_; }
  [[nodiscard]] SteadyTime opened_at() const noexcept { return opened_at_; }

  /// Asked before each message or group is run. Whoever gets What::probe runs one message and says how it went.
  [[nodiscard]] Turn turn(SteadyTime now);
  void probe_succeeded(SteadyTime now);
  void probe_failed(SteadyTime now);
  /// It proved nothing: a duplicate, or given up before its end. The next one may follow at once.
  void probe_was_void() noexcept { is_probing_ = false; }

 private:
  struct Outcome {
    SteadyTime at{};
    std::uint64_t error_class = 0;
    std::uint64_t key = 0;
    bool has_failed = false;
  };
  void add(const Outcome& outcome);
  [[nodiscard]] std::size_t keys_that_failed_like(std::uint64_t error_class) const;

  BreakerOptions options_;
  std::deque<Outcome> last_;  // the newest at the end, at most 2 × keys
  std::string reason_;
  bool is_open_ = false;
  bool is_probing_ = false;
  SteadyTime opened_at_{};
  SteadyTime next_probe_{};
  std::chrono::milliseconds interval_{0};
};

}  // namespace oncemark::consume
