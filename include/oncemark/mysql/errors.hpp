#pragma once

#include <string>
#include <string_view>

#include <oncemark/core/error.hpp>

namespace oncemark::mysql {

/// A failure reported by the server or by its client library.
///
/// Shape:   code is the server's or client's number (0: client-side misuse of the connector), sqlstate its five
///          characters. what(): "<what was tried>: MySQL <code> (<sqlstate>) <text>; <cure>".
/// Source:  field notes on error codes; classify() is the table.
class MysqlError final : public Error {
 public:
  MysqlError(ErrorKind kind, int code, std::string sqlstate, const std::string& text)
      : Error(kind, text), code_(code), sqlstate_(std::move(sqlstate)) {}

  [[nodiscard]] int code() const noexcept { return code_; }
  [[nodiscard]] const std::string& sqlstate() const noexcept { return sqlstate_; }
  /// Whether the connection is unusable from now on.
  [[nodiscard]] bool breaks_connection() const noexcept;
  /// Whether the transaction it happened in must not go on: 1205, 1213, 1020 and whatever else rolled it back, or a
  /// lost connection.
  [[nodiscard]] bool dooms_transaction() const noexcept;
  /// A lost race for a lock: 1205, 1213, 1020, 3572 (NOWAIT on MySQL). Tried again at once, no attempt counted.
  [[nodiscard]] bool is_contention() const noexcept override;
  [[nodiscard]] bool is_infrastructure() const noexcept override;
  [[nodiscard]] std::string error_class() const override;

 private:
  int code_;
  std::string sqlstate_;
};

/// The error for a number, with the text that MysqlError describes: for sessions, and for doubles that throw.
///
/// Shape:   `tried` says what was attempted ("INSERT INTO t …"); `text` is the server's, printed without control
///          characters, at most 512 bytes.
[[nodiscard]] MysqlError make_error(std::string_view tried, int code, std::string_view sqlstate, std::string_view text);

/// The kind of an error number: transient (1205, 1213, 1020, 3101, 1180…), unavailable (2002, 2006, 2013, 4031, 1040,
/// 1203, 1053, 1290, 1836, 3100…), misuse (access denied, unknown database, table or column, syntax), else permanent.
[[nodiscard]] ErrorKind classify(int code, std::string_view sqlstate) noexcept;

/// What to do about an error number, as a half-sentence; empty when nothing useful is known.
[[nodiscard]] std::string_view cure(int code) noexcept;

}  // namespace oncemark::mysql
