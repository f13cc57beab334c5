#pragma once

#include <chrono>
#include <string>
#include <utility>

namespace oncemark {

/// What a handler says about its message by returning it, where it would rather not throw.
///
/// Shape:   done(), or one of two that undo what the handler has written and say what is to be done with the message;
///          they are what throwing RetryAfterError or DeadLetterError is.
/// Threads: a value.
/// Errors:  none.
class [[nodiscard]] Verdict {
 public:
  static Verdict done() { return Verdict(Kind::done, {}, {}); }
  /// Try it again after `delay`; limits by attempts and age hold.
  static Verdict retry_after(std::chrono::milliseconds delay, std::string reason) {
    return Verdict(Kind::retry_after, delay, std::move(reason));
  }
  /// Give it up; `reason` stands in its letter.
  static Verdict dead_letter(std::string reason) { return Verdict(Kind::dead_letter, {}, std::move(reason)); }

  /// Throws the error that says the same; returns when it is done().
  void enforce() const;

 private:
  enum class Kind { done, retry_after, dead_letter };
  Verdict(Kind kind, std::chrono::milliseconds delay, std::string reason)
      : kind_(kind), delay_(delay), reason_(std::move(reason)) {}

  Kind kind_;
  std::chrono::milliseconds delay_;
  std::string reason_;
};

}  // namespace oncemark
