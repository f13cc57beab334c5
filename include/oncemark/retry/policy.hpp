#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <oncemark/core/error.hpp>
#include <oncemark/retry/schedule.hpp>

namespace oncemark::retry {

/// What a decision is made from.
struct FailureFacts {
  ErrorSummary error = {};
  std::string_view topic = {};       // that the message came from
  int failed = 1;                    // failed deliveries of this life, this one included
  int tried_here = 0;                // how often this delivery was tried again in place
  std::chrono::milliseconds age{0};  // since its first failure; in a replayed life, since the replay
  bool is_repeatable = true;         // false: the record itself is unusable (undecodable, no key, another's key)
};

/// What is done with a failed message.
enum class Action {
  retry_later,  ///< by the retry topic, after a delay; others go on meanwhile
  retry_here,   ///< in place, alone, after a short pause (RunnerOptions::in_place); nothing is written, no attempt is
                ///< counted; what shared its transaction has gone on without it, what came later of its key waits
  dead_letter,  ///< given up: a letter, and a record on the dead-letter topic
  discard,      ///< given up without a record: state `discarded`, and the whole message in dead_letter for the audit
};

[[nodiscard]] std::string_view to_string(Action action) noexcept;

/// What to do with certain failures. All conditions that are set must hold; without any it holds for every failure.
struct Rule {
  std::vector<std::string> errors = {};  // error classes or C++ type names; '*' any text, '?' one character · one holds
  std::vector<int> mysql = {};           // MySQL error numbers, of statements of the handler · one holds
  std::function<bool(const FailureFacts&)> when = {};  // pure, for any thread · one that throws does not hold
  Action action = Action::retry_later;
  int tries = 3;                         // with retry_here: then the rules after this one decide · 1 to 100
  std::optional<Schedule> delays = {};   // with retry_later · default: those of the options
  std::optional<int> max_attempts = {};  // with retry_later · default: length of its list + 1, else the options'
};

/// Whether later messages of a key may overtake one that waits for its next attempt.
enum class Order {
  none,    ///< they do
  by_key,  ///< they wait behind it, in MySQL; messages of other keys, and those without a key, go on
};

/// With Order::by_key: what a message that is given up means for its key.
enum class OnDead {
  stop_key,      ///< later ones wait until a person replays it in its place, discards it, or releases the key
  continue_key,  ///< they go on without it
};

/// When a failed message is tried again, and when it is given up.
struct RetryOptions {
  std::optional<int> max_attempts = {};  // deliveries in one life · default: length of a list + 1, else 4 · 1 to 1,000
  Schedule delays = Schedule::exponential(std::chrono::seconds(1), 5.0).capped(std::chrono::minutes(15)).jitter(0.2);
  std::optional<std::chrono::milliseconds> max_age = {};  // no delivery later than this after the first failure · a
                                                          // replay starts it anew · above 0, to 365 days
  std::vector<Rule> rules = {};                           // the first one that holds decides

  Order order = Order::none;          // by_key keeps a key's order across failures · a key is as slow as its worst
                                      // message, and each group costs two more SELECTs
  OnDead on_dead = OnDead::stop_key;  // continue_key when later messages make sense without an earlier one
  std::uint32_t max_parked_per_key =
      1'000;                           // messages that wait behind one head; past it reading stops · 2 to 1,000,000
  std::uint64_t max_parked = 100'000;  // the same for all keys of a consumer, about · 2 to 100,000,000
  std::chrono::milliseconds head_lease{60'000};  // a head whose process died is tried again after this · 1 s to 1 h

  void validate() const;
  /// max_attempts, or what `delays` makes of it.
  [[nodiscard]] int attempts() const noexcept;
  /// Whether decisions look at FailureFacts::age, which costs a query.
  [[nodiscard]] bool needs_age() const noexcept;
};

/// What to do with a failure, and why.
struct Decision {
  Action action = Action::dead_letter;
  std::chrono::milliseconds delay{0};  // with retry_later
  std::string reason = {};             // for logs and the audit: "attempt 4 of 4", "rule 2", …
};

/// Decides about a failure.
///
/// Shape:   1. What the handler decided itself holds before every rule: DeadLetterError, RetryAfterError.
///          2. The first rule that holds. One that would retry is passed over when the record itself is unusable;
///             one with retry_here also when its tries are used up.
///          3. Otherwise permanent errors are given up, and everything else is tried later.
///          Whatever says "later" ends at the limits: by attempts, and by age.
/// Threads: pure; `random` is 64 random bits, so that tests choose them.
/// Errors:  none.
[[nodiscard]] Decision decide(const RetryOptions& options, const FailureFacts& facts, std::uint64_t random);

}  // namespace oncemark::retry
