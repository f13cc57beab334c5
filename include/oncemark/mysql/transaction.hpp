#pragma once

#include <array>
#include <exception>
#include <functional>
#include <initializer_list>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <oncemark/mysql/deferred.hpp>
#include <oncemark/mysql/row.hpp>
#include <oncemark/mysql/row_values.hpp>
#include <oncemark/mysql/session.hpp>

namespace oncemark::mysql {

/// An open transaction, as business code sees it: statements, savepoints and hooks, but no commit and no rollback.
///
/// Shape:   READ COMMITTED, strict SQL mode, times in UTC. execute() and query() bind every argument by value.
/// Threads: the thread that opened it.
/// Errors:  MysqlError. After 1205, 1213, 1020 or a lost connection the transaction is *doomed*: every further
///          statement and the commit throw that same error again, so that swallowing it cannot commit half the work.
///          MisuseError for a statement that would commit implicitly (DDL, LOCK TABLES, START TRANSACTION …); it is
///          not sent. A CALL runs behind a savepoint: a procedure that ended the transaction dooms it, as does one
///          that failed. Once committed or rolled back, every statement throws MisuseError.
/// Crash:   nothing of it is kept unless its owner's COMMIT reached the server.
/// Source:  design, decision 1 and section 2; field-notes facts 4 and 5.
class Transaction {
 public:
  Transaction(const Transaction&) = delete;
  Transaction& operator=(const Transaction&) = delete;

  template <typename... Args>
  std::uint64_t execute(std::string_view sql, const Args&... args) {
    const std::array<Param, sizeof...(Args)> params{Param(args)...};
    return execute_with(sql, params);
  }
  template <typename... Args>
  [[nodiscard]] Rows query(std::string_view sql, const Args&... args) {
    const std::array<Param, sizeof...(Args)> params{Param(args)...};
    return query_with(sql, params);
  }
  /// The first row, if there is one.
  template <typename... Args>
  [[nodiscard]] std::optional<Row> query_row(std::string_view sql, const Args&... args) {
    Rows rows = query(sql, args...);
    if (rows.empty()) return std::nullopt;
    return std::move(rows.front());
  }
  std::uint64_t execute_with(std::string_view sql, std::span<const Param> params);
  [[nodiscard]] Rows query_with(std::string_view sql, std::span<const Param> params);

  /// Inserts many rows by few statements: `head` VALUES (…), (…) `tail`.
  ///
  /// Shape:   head: "INSERT INTO ledger (message_id, amount)"; tail: "" or "ON DUPLICATE KEY UPDATE …". Split by what
  ///          the server takes in one statement. Returns the affected rows of all. No rows: nothing is sent.
  /// Errors:  as execute(); what was inserted before a failing statement is undone with the transaction or savepoint.
  std::uint64_t insert_rows(std::string_view head, const RowValues& rows, std::string_view tail = {});
  /// Changes many rows by few statements, in which {rows} stands for a table of the values with these column names:
  /// "UPDATE account AS a JOIN {rows} AS v ON a.id = v.id SET a.balance = a.balance + v.amount".
  ///
  /// Shape:   a table row that several of `rows` match is changed once: see RowValues::summed(). Else as insert_rows().
  std::uint64_t update_rows(std::string_view sql, std::span<const std::string_view> columns, const RowValues& rows);
  std::uint64_t update_rows(std::string_view sql, std::initializer_list<std::string_view> columns,
                            const RowValues& rows) {
    return update_rows(sql, std::span(columns.begin(), columns.size()), rows);
  }

  /// Leaves a row for a statement that is sent later, together with the rows that other messages of the group leave for
  /// it: two round trips a message become two a group.
  ///
  /// Shape:   one value for each column. Sent by flush(): before the next statement or savepoint of this transaction,
  ///          at the end of a group's last effect, at the commit, and when a megabyte has gathered. So what is read
  ///          afterwards sees it, and only deferred rows change their order among each other: statement by statement,
  ///          in the order in which each was first used.
  /// Errors:  of the statement: thrown by whatever flushes. In a group that fails, messages are run again one by one
  ///          with a flush after each, so that the error falls on the message that caused it.
  template <typename... Args>
  void defer(const DeferredStatement& statement, const Args&... args) {
    const std::array<Param, sizeof...(Args)> params{Param(args)...};
    defer_with(statement, params);
  }
  void defer_with(const DeferredStatement& statement, std::span<const Param> params);
  /// Sends what has been deferred.
  void flush();

  /// Names are [A-Za-z_][A-Za-z0-9_]*, at most 64 characters.
  void savepoint(std::string_view name);
  void rollback_to(std::string_view name);
  void release(std::string_view name);

  /// Calls `hook` once the commit is known to have succeeded, in order, on this thread: never before, never after a
  /// rollback or a commit in doubt. A hook that throws is logged and the next one runs; LateCalls makes it again. A
  /// crash between the commit and the hook loses it: use hooks for hints only.
  void after_commit(std::function<void()> hook);

  [[nodiscard]] bool is_doomed() const noexcept { return doom_ != nullptr; }
  /// The error that doomed it; null while it is sound.
  [[nodiscard]] const std::exception_ptr& doom() const noexcept { return doom_; }

 private:
  friend class UnitOfWork;
  explicit Transaction(Session& session) : session_(&session) {}

  template <typename Call>
  auto sent(Call&& call);
  template <typename Call>
  auto guarded(std::string_view sql, Call&& call);
  void savepoint_command(std::string_view command, std::string_view name);
  void throw_if_doomed() const;

  Session* session_;
  std::exception_ptr doom_;
  bool has_ended_ = false;
  std::vector<std::function<void()>> hooks_;
  DeferredRows deferred_;
};

/// The owner's side of a transaction: begins it, and commits or rolls back.
///
/// Shape:   the constructor sends START TRANSACTION, or leaves it to the first statement, which begins a transaction
///          where autocommit is off (as on every Connection): a round trip less, and a connection that has died is
///          found out in the middle of the work; the destructor rolls back unless commit() returned.
/// Threads: the thread that opened it.
/// Errors:  commit() throws InDoubtError when the connection was lost during COMMIT (the fate is unknown), the
///          dooming error when the transaction was doomed, MysqlError when the server refused. A failed rollback is
///          logged, and `is_reusable()` then says that the connection must be dropped.
class UnitOfWork final {
 public:
  enum class Begin { now, with_first_statement };
  explicit UnitOfWork(Session& session, Begin begin = Begin::now);
  ~UnitOfWork();
  UnitOfWork(const UnitOfWork&) = delete;
  UnitOfWork& operator=(const UnitOfWork&) = delete;

  [[nodiscard]] Transaction& tx() noexcept { return tx_; }
  void commit();
  void rollback() noexcept;
  [[nodiscard]] bool is_reusable() const noexcept { return is_reusable_; }

 private:
  void run_hooks() noexcept;

  Session& session_;
  Transaction tx_;
  bool is_open_ = false;
  bool is_reusable_ = true;
};

}  // namespace oncemark::mysql
