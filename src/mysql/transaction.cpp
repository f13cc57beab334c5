#include <oncemark/mysql/transaction.hpp>

#include <algorithm>
#include <utility>

#include <oncemark/core/faults.hpp>
#include <oncemark/mysql/errors.hpp>
#include <oncemark/observe/log.hpp>

#include "core/mutants.hpp"
#include "mysql/statement_text.hpp"

namespace oncemark::mysql {
namespace {

constexpr std::string_view kCallGuard = "oncemark_call";
constexpr int kNoSuchSavepoint = 1305;
constexpr int kErrorDuringCommit = 1180;
// A statement takes 65,535 placeholders; this many rows win nearly all there is to win.
constexpr std::size_t kMaxPlaceholders = 65'535;
constexpr std::size_t kMaxRows = 1'024;

/// Runs `make_sql(rows)` over chunks of `rows`; the sum of affected rows.
template <typename MakeSql, typename Execute>
std::uint64_t in_chunks(const RowValues& rows, std::size_t fixed_bytes, std::size_t bytes_per_row,
                        std::size_t max_bytes, MakeSql&& make_sql, Execute&& execute) {
  std::uint64_t affected = 0;
  if (rows.empty()) return affected;
  const std::size_t room = max_bytes > fixed_bytes ? max_bytes - fixed_bytes : 0;
  std::size_t max_rows = std::min(kMaxRows, kMaxPlaceholders / rows.columns());
  max_rows = std::max<std::size_t>(1, std::min(max_rows, room / 2 / bytes_per_row));
  for (std::size_t first = 0; first < rows.size();) {
    const std::size_t count = rows.chunk(first, max_rows, room - std::min(room, max_rows * bytes_per_row));
    affected += execute(make_sql(count), rows.params(first, count));
    first += count;
  }
  return affected;
}

std::string placeholders(std::size_t columns) {
  std::string text = "?";
  for (std::size_t i = 1; i < columns; ++i) text += ", ?";
  return text;
}

bool is_plain_name(std::string_view name) noexcept {
  const auto is_letter = [](char c) { return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_'; };
  const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
  return !name.empty() && name.size() <= 64 && is_letter(name.front()) &&
         std::all_of(name.begin(), name.end(), [&](char c) { return is_letter(c) || is_digit(c); });
}

}  // namespace

void Transaction::throw_if_doomed() const {
  if (has_ended_) throw MisuseError("a statement was run in a transaction that has already ended");
  if (doom_) std::rethrow_exception(doom_);
}

// Runs one call on the session and remembers an error after which nothing of this transaction may be committed.
// Anything that is neither the server's answer nor a refusal to send leaves open what the server has done.
template <typename Call>
auto Transaction::sent(Call&& call) {
  throw_if_doomed();
  try {
    return call();
  } catch (const MysqlError& error) {
    if (error.dooms_transaction()) doom_ = std::current_exception();
    throw;
  } catch (const MisuseError&) {
    throw;
  } catch (...) {
    doom_ = std::current_exception();
    throw;
  }
}

template <typename Call>
auto Transaction::guarded(std::string_view sql, Call&& call) {
  throw_if_doomed();
  if (const auto found = ends_transaction(sql)) {
    throw MisuseError(*found +
                      " ends or changes the transaction it runs in and was not sent; use savepoint() and the " +
                      "like for savepoints, and a connection outside of the transaction for the rest");
  }
  flush();
  if (first_keyword(sql) != "CALL") return sent(call);

  savepoint(kCallGuard);
  try {
    auto result = sent(call);
    release(kCallGuard);
    return result;
  } catch (...) {
    doom_ = std::current_exception();  // what the procedure did before it failed is unknown
    throw;
  }
}

std::uint64_t Transaction::execute_with(std::string_view sql, std::span<const Param> params) {
  return guarded(sql, [&] { return session_->execute(sql, params); });
}

Rows Transaction::query_with(std::string_view sql, std::span<const Param> params) {
  return guarded(sql, [&] { return session_->query(sql, params); });
}

std::uint64_t Transaction::insert_rows(std::string_view head, const RowValues& rows, std::string_view tail) {
  throw_if_doomed();
  const std::string row = "(" + placeholders(rows.columns()) + ")";
  const auto make_sql = [&](std::size_t count) {
    std::string sql(head);
    sql += " VALUES " + row;
    for (std::size_t i = 1; i < count; ++i) sql += ", " + row;
    if (!tail.empty()) sql += " " + std::string(tail);
    return sql;
  };
  return in_chunks(rows, head.size() + tail.size() + 16, row.size() + 2, session_->max_statement_bytes(), make_sql,
                   [&](const std::string& sql, const std::vector<Param>& params) { return execute_with(sql, params); });
}

std::uint64_t Transaction::update_rows(std::string_view sql, std::span<const std::string_view> columns,
                                       const RowValues& rows) {
  throw_if_doomed();
  constexpr std::string_view kPlace = "{rows}";
  const std::size_t place = sql.find(kPlace);
  if (place == std::string_view::npos || sql.find(kPlace, place + 1) != std::string_view::npos) {
    throw MisuseError("update_rows: \"" + printable(sql, 160) + "\" must name {rows} once");
  }
  if (!rows.empty() && columns.size() != rows.columns()) {
    throw MisuseError("update_rows: " + std::to_string(columns.size()) + " column names for rows of " +
                      std::to_string(rows.columns()) + " values");
  }
  // A table of values that both MySQL and MariaDB read: their VALUES statements differ.
  std::string first = "SELECT ";
  for (std::size_t i = 0; i < columns.size(); ++i) {
    if (!is_plain_name(columns[i])) {
      throw MisuseError("update_rows: \"" + printable(columns[i], 80) +
                        "\" is no column name ([A-Za-z_][A-Za-z0-9_]*)");
    }
    first += (i == 0 ? "? AS " : ", ? AS ") + std::string(columns[i]);
  }
  const std::string next = " UNION ALL SELECT " + placeholders(columns.size());
  const auto make_sql = [&](std::size_t count) {
    std::string text(sql.substr(0, place));
    text += "(" + first;
    for (std::size_t i = 1; i < count; ++i) text += next;
    text += ")";
    text += sql.substr(place + kPlace.size());
    return text;
  };
  return in_chunks(
      rows, sql.size() + first.size() + 16, next.size(), session_->max_statement_bytes(), make_sql,
      [&](const std::string& text, const std::vector<Param>& params) { return execute_with(text, params); });
}

void Transaction::defer_with(const DeferredStatement& statement, std::span<const Param> params) {
  throw_if_doomed();
  deferred_.add(statement, params);
  if (deferred_.is_full()) flush();
}

void Transaction::flush() {
  if (!deferred_.empty()) deferred_.send(*this);
}

void Transaction::savepoint(std::string_view name) {
  flush();
  savepoint_command("SAVEPOINT ", name);
}
void Transaction::rollback_to(std::string_view name) {
  deferred_.forget();  // all of it is younger than any savepoint
  savepoint_command("ROLLBACK TO SAVEPOINT ", name);
}
void Transaction::release(std::string_view name) { savepoint_command("RELEASE SAVEPOINT ", name); }

void Transaction::savepoint_command(std::string_view command, std::string_view name) {
  if (!is_plain_name(name)) {
    throw MisuseError("savepoint \"" + printable(name, 80) + "\": a name is [A-Za-z_][A-Za-z0-9_]*, at most 64 bytes");
  }
  try {
    sent([&] { session_->control(std::string(command) + "`" + std::string(name) + "`"); });
  } catch (const MysqlError& error) {
    // The savepoint is gone, hence the transaction that it was set in: this is another one, and holds half the work.
    if (error.code() == kNoSuchSavepoint) doom_ = std::current_exception();
    throw;
  }
}

void Transaction::after_commit(std::function<void()> hook) {
  throw_if_doomed();
  hooks_.push_back(std::move(hook));
}

UnitOfWork::UnitOfWork(Session& session, Begin begin) : session_(session), tx_(session) {
  if (begin == Begin::now) session_.control("START TRANSACTION");
  is_open_ = true;
}

UnitOfWork::~UnitOfWork() { rollback(); }

void UnitOfWork::commit() {
  if (!is_open_) throw MisuseError("commit() of a transaction that has already ended");
  if (const auto doom = tx_.doom_) {
    rollback();
    std::rethrow_exception(doom);
  }
  try {
    tx_.flush();
  } catch (...) {
    const std::exception_ptr doom = tx_.doom_;
    rollback();
    if (doom) std::rethrow_exception(doom);
    throw;
  }
  try {
    session_.control("COMMIT");
  } catch (const MysqlError& error) {
    if (has_mutant("commit_unchecked")) {
      is_open_ = false;
      is_reusable_ = false;
      tx_.has_ended_ = true;
      return run_hooks();
    }
    if (!error.breaks_connection() && error.code() != kErrorDuringCommit) {
      rollback();  // refused: nothing of it is kept
      throw;
    }
    is_open_ = false;
    is_reusable_ = false;
    tx_.has_ended_ = true;
    throw InDoubtError(std::string("commit in doubt, it may or may not have taken effect: claim the message again on a "
                                   "new connection, or let the relay find the row: ") +
                       error.what());
  } catch (...) {
    is_open_ = false;
    is_reusable_ = false;
    tx_.has_ended_ = true;
    const ErrorSummary error = summarize_current_exception();
    throw InDoubtError("commit in doubt, it may or may not have taken effect: " + error.text);
  }
  is_open_ = false;
  tx_.has_ended_ = true;
  run_hooks();
}

void UnitOfWork::run_hooks() noexcept {
  for (const auto& hook : std::exchange(tx_.hooks_, {})) {
    try {
      ONCEMARK_FAIL_POINT("transaction.before_hook");
      hook();
    } catch (...) {
      const ErrorSummary error = summarize_current_exception();
      log(LogLevel::warn, "a hook that ran after a commit threw; the commit stands",
          {{"error_class", error.error_class}, {"error", error.text}});
    }
  }
}

void UnitOfWork::rollback() noexcept {
  if (!std::exchange(is_open_, false)) return;
  tx_.has_ended_ = true;
  tx_.hooks_.clear();
  tx_.deferred_.forget();
  try {
    session_.control("ROLLBACK");
  } catch (...) {
    // The server rolls back by itself once the connection is closed.
    is_reusable_ = false;
    const ErrorSummary error = summarize_current_exception();
    log(LogLevel::debug, "rollback failed; the connection is dropped",
        {{"error_class", error.error_class}, {"error", error.text}});
  }
}

}  // namespace oncemark::mysql
