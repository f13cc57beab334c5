#pragma once

#include <string>
#include <string_view>

#include <oncemark/core/error.hpp>

namespace oncemark::redis {

/// A failure reported by a Redis server or by its connection.
///
/// Shape:   code is the first word of the server's error ("WRONGPASS", "OOM", "ERR"), or one of ours: "timeout",
///          "connection" (errno is in the text), "closed", "protocol", "busy" (no connection of the pool got free).
///          what(): "<what was tried> on redis <url>: <what happened>; <cure>". Never a password; of the answer to AUTH
///          only its code, since servers repeat what they do not understand.
/// Threads: a value.
/// Errors:  –
class RedisError final : public Error {
 public:
  RedisError(ErrorKind kind, std::string code, const std::string& text) : Error(kind, text), code_(std::move(code)) {}

  [[nodiscard]] const std::string& code() const noexcept { return code_; }
  [[nodiscard]] std::string error_class() const override { return "redis." + code_; }

 private:
  std::string code_;
};

/// The kind of a code: misuse when a person has to act (credentials, rights, database number, a cluster), else
/// transient.
[[nodiscard]] ErrorKind classify(std::string_view code) noexcept;

/// What to do about a code, as a half-sentence; empty when nothing useful is known.
[[nodiscard]] std::string_view cure(std::string_view code) noexcept;

}  // namespace oncemark::redis
