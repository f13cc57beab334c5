#pragma once

#include <chrono>
#include <cstddef>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

namespace oncemark {

/// What can be done about a failure. Policies read nothing else.
enum class ErrorKind {
  transient,    ///< may work when tried again with the same input
  unavailable,  ///< something that the work needs is down; nobody's attempt is counted for it
  permanent,    ///< will never work with this input: dead-letter it
  in_doubt,     ///< a commit whose fate is unknown; only a new claim tells the truth
  misuse,       ///< the program or its configuration is wrong: stop, never dead-letter messages for it
};

[[nodiscard]] std::string_view to_string(ErrorKind kind) noexcept;

/// Base of everything this library throws.
///
/// Shape:   what() names what was tried, on what, the native code, and the cure; never a payload or a secret.
/// Threads: a value.
/// Errors:  –
class Error : public std::runtime_error {
 public:
  Error(ErrorKind kind, const std::string& text) : std::runtime_error(text), kind_(kind) {}

  [[nodiscard]] ErrorKind kind() const noexcept { return kind_; }
  /// Whether the same work, tried again, may succeed.
  [[nodiscard]] bool retryable() const noexcept {
    return kind_ == ErrorKind::transient || kind_ == ErrorKind::unavailable || kind_ == ErrorKind::in_doubt;
  }
  /// Whether the servers are to blame and not the message that was being handled: then the work is tried again
  /// in place and no attempt of the message is counted. A lost race for a row lock belongs here too.
  [[nodiscard]] virtual bool is_infrastructure() const noexcept {
    return kind_ == ErrorKind::unavailable || kind_ == ErrorKind::in_doubt;
  }
  /// A lost race for a lock: trying again at once, with less at a time, is the whole cure.
  [[nodiscard]] virtual bool is_contention() const noexcept { return false; }
  /// Short, stable name for grouping failures: "permanent", "mysql.1205", "kafka.MSG_SIZE_TOO_LARGE".
  [[nodiscard]] virtual std::string error_class() const { return std::string(to_string(kind_)); }

 private:
  ErrorKind kind_;
};

/// Thrown by a handler: this message can never succeed. It becomes a dead letter at once.
class PermanentError : public Error {
 public:
  explicit PermanentError(const std::string& text) : Error(ErrorKind::permanent, text) {}
};

/// Thrown by a handler: this message is to be given up, whatever the retry rules say. `reason` stands in its letter.
class DeadLetterError final : public PermanentError {
 public:
  explicit DeadLetterError(const std::string& reason) : PermanentError(reason) {}
  [[nodiscard]] std::string error_class() const override { return "dead_letter"; }
};

/// Thrown by a handler: try this message again after `delay`, instead of the delay that the policy would choose.
///
/// Shape:   counts as a failed delivery like any other, so the limits by attempts and age hold. Below 0 counts as 0,
///          above 30 days as 30 days: such a number often comes from somebody else's answer.
class RetryAfterError final : public Error {
 public:
  RetryAfterError(std::chrono::milliseconds delay, const std::string& reason)
      : Error(ErrorKind::transient, reason), delay_(delay) {}
  [[nodiscard]] std::chrono::milliseconds delay() const noexcept { return delay_; }
  [[nodiscard]] std::string error_class() const override { return "retry_after"; }

 private:
  std::chrono::milliseconds delay_;
};

/// A message has the business key of another one that was settled with other contents.
class KeyConflictError final : public PermanentError {
 public:
  explicit KeyConflictError(const std::string& text) : PermanentError(text) {}
  [[nodiscard]] std::string error_class() const override { return "key_conflict"; }
};

/// Thrown by a handler: something it depends on is down. The message is tried again in place; no attempt is counted,
/// unless it fails again and again while others succeed. While none succeeds, the runner stops the flow and tries one
/// message now and then.
class UnavailableError : public Error {
 public:
  explicit UnavailableError(const std::string& text) : Error(ErrorKind::unavailable, text) {}
};

/// The connection was lost during COMMIT: the transaction may or may not have taken effect.
/// Never answered by blind repetition: claim again (consumer) or let the relay find the row (producer).
class InDoubtError : public Error {
 public:
  explicit InDoubtError(const std::string& text) : Error(ErrorKind::in_doubt, text) {}
};

/// A programming error: wrong call order, a value outside its documented range, a missing prerequisite.
class MisuseError : public Error {
 public:
  explicit MisuseError(const std::string& text) : Error(ErrorKind::misuse, text) {}
};

/// A wrong setting; `key` is its name as the user wrote it.
class ConfigError : public MisuseError {
 public:
  ConfigError(std::string key, const std::string& text) : MisuseError(text), key_(std::move(key)) {}
  [[nodiscard]] const std::string& key() const noexcept { return key_; }

 private:
  std::string key_;
};

/// One line about the exception that is being handled: its type and text. For logs and failure records.
///
/// Shape:   {class, text}: class is error_class() for ours, the demangled type name for any other std::exception,
///          "unknown" for what is no std::exception; text is what(), at most 1,024 bytes, cut on a UTF-8 boundary.
///          Both are valid UTF-8, as their columns want it: any other byte is replaced by '?'. `type` is the demangled
///          type name in every case, so that an error which a user has derived from ours is known by its own name.
/// Threads: any. Call only inside a catch block.
/// Errors:  never throws.
struct ErrorSummary {
  std::string error_class = {};
  std::string text = {};
  ErrorKind kind = ErrorKind::transient;
  bool is_infrastructure = false;
  bool is_contention = false;
  std::string type = {};
  std::optional<std::chrono::milliseconds> retry_after = {};  // of a RetryAfterError
  bool is_given_up = false;                                   // a DeadLetterError: the handler has decided
};
[[nodiscard]] ErrorSummary summarize_current_exception() noexcept;

/// `text` cut to at most `limit` bytes without splitting a UTF-8 sequence.
[[nodiscard]] std::string_view truncate_utf8(std::string_view text, std::size_t limit) noexcept;

}  // namespace oncemark
