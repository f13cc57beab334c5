// The one file that names types of Connector/C++ 1.1. Its commit(), rollback(), setAutoCommit() and reconnect() are
// banned, here too: they report success for what failed.
#include "mysql/driver.hpp"

#include <cerrno>
#include <cmath>
#include <fstream>
#include <mutex>
#include <system_error>
#include <utility>

#include <cppconn/connection.h>
#include <cppconn/datatype.h>
#include <cppconn/driver.h>
#include <cppconn/exception.h>
#include <cppconn/parameter_metadata.h>
#include <cppconn/prepared_statement.h>
#include <cppconn/resultset.h>
#include <cppconn/resultset_metadata.h>
#include <cppconn/statement.h>

#include <oncemark/mysql/errors.hpp>
#include <oncemark/observe/log.hpp>

#include "core/secret_file.hpp"
#include "mysql/statement_cache.hpp"
#include "mysql/statement_text.hpp"

namespace oncemark::mysql {
namespace {

constexpr std::size_t kCachedStatements = 128;
// A statement keeps copies of its last parameters and all rows of its last result: beyond this it is not kept.
constexpr std::size_t kKeptBytes = 256 * 1024;
// Of a parameter on the wire, at most: type and null flag, and its length or its eight bytes.
constexpr std::size_t kParameterOverhead = 12;
constexpr int kUnknownStatement = 1243;
constexpr int kNeedsReprepare = 1615;
// Strict, and the same whatever the server's default is. Without STRICT an over-long key is cut and matches another.
constexpr std::string_view kSqlMode =
    "STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION,ERROR_FOR_DIVISION_BY_ZERO,NO_ZERO_DATE,NO_ZERO_IN_DATE";

sql::SQLString to_native(std::string_view text) { return sql::SQLString(text.data(), text.size()); }

std::string_view to_view(const sql::SQLString& text) { return {text.c_str(), text.length()}; }

// A prepared statement with what has to be known before it may be run.
struct Prepared {
  std::unique_ptr<sql::PreparedStatement> native;
  std::size_t parameters = 0;
  bool returns_rows = false;
  bool changes_rows = false;  // INSERT and the like, without RETURNING
  bool is_call = false;
};

// Hands a statement's result back to the library whatever happens: an unread result blocks the connection (2014).
template <typename AnyStatement>
void discard_results(AnyStatement& statement) {
  do {
    const std::unique_ptr<sql::ResultSet> unread(statement.getResultSet());
  } while (statement.getMoreResults());
}

class ConnectorConnection final : public Connection {
 public:
  explicit ConnectorConnection(std::unique_ptr<sql::Connection> native) : native_(std::move(native)) {}

  std::uint64_t execute(std::string_view sql, std::span<const Param> params) override;
  Rows query(std::string_view sql, std::span<const Param> params) override;
  void control(std::string_view sql) override;

  [[nodiscard]] std::size_t max_statement_bytes() const noexcept override {
    return max_allowed_packet_ == 0 ? Session::max_statement_bytes() : max_allowed_packet_;
  }
  [[nodiscard]] bool is_usable() const noexcept override { return !is_broken_ && !is_retired_; }
  [[nodiscard]] bool has_open_transaction() const noexcept override { return has_open_transaction_; }
  [[nodiscard]] bool ping() noexcept override;

  void configure(const PoolOptions& options, std::chrono::seconds wait_timeout);

 private:
  template <typename Call>
  auto run(std::string_view sql, std::span<const Param> params, Call&& call);
  template <typename Call>
  auto translated(std::string_view sql, Call&& call);
  [[noreturn]] void raise(std::string_view sql, const sql::SQLException& native);

  Prepared& prepare(std::string_view sql, std::span<const Param> params);
  void check_size(std::string_view sql, std::span<const Param> params) const;
  std::string ask(std::string_view sql, unsigned column);

  std::unique_ptr<sql::Connection> native_;
  StatementCache<Prepared> statements_{kCachedStatements};  // closed before native_
  std::size_t max_allowed_packet_ = 0;                      // 0: not known yet
  bool is_broken_ = false;                                  // refuses everything
  bool is_retired_ = false;                                 // still works, but must not be borrowed again
  bool has_open_transaction_ = false;
};

std::string tried(std::string_view sql) { return "statement \"" + printable(sql, 160) + "\""; }

std::size_t bytes_of(std::span<const Param> params) noexcept {
  std::size_t bytes = 0;
  for (const Param& param : params) {
    const auto* text = std::get_if<std::string_view>(&param.value());
    bytes += kParameterOverhead + (text != nullptr ? text->size() : 0);
  }
  return bytes;
}

class Binder {
 public:
  Binder(sql::PreparedStatement& statement, unsigned index) : statement_(statement), index_(index) {}

  void operator()(std::nullptr_t) const { statement_.setNull(index_, 0); }
  void operator()(std::int64_t value) const { statement_.setInt64(index_, value); }
  void operator()(std::uint64_t value) const { statement_.setUInt64(index_, value); }
  void operator()(double value) const {
    if (!std::isfinite(value)) throw MisuseError("parameter " + std::to_string(index_) + " is not a finite number");
    statement_.setDouble(index_, value);
  }
  void operator()(std::string_view value) const { statement_.setString(index_, to_native(value)); }
  void operator()(Time value) const { statement_.setString(index_, to_native(format_datetime(value))); }

 private:
  sql::PreparedStatement& statement_;
  unsigned index_;
};

void bind(sql::PreparedStatement& statement, std::span<const Param> params) {
  for (unsigned i = 0; i < params.size(); ++i) std::visit(Binder(statement, i + 1), params[i].value());
}

enum class Kind { is_signed, is_unsigned, real, bytes };

// getString() of a FLOAT or DOUBLE would print six digits; every other type that is no integer reads right as text.
Kind kind_of(sql::ResultSetMetaData& columns, unsigned column) {
  switch (columns.getColumnType(column)) {
    case sql::DataType::TINYINT:
    case sql::DataType::SMALLINT:
    case sql::DataType::MEDIUMINT:
    case sql::DataType::INTEGER:
    case sql::DataType::BIGINT:
    case sql::DataType::YEAR:
      return columns.isSigned(column) ? Kind::is_signed : Kind::is_unsigned;
    case sql::DataType::BIT:
      return Kind::is_unsigned;
    case sql::DataType::REAL:
    case sql::DataType::DOUBLE:
      return Kind::real;
    default:
      return Kind::bytes;
  }
}

Row::Value read_value(const sql::ResultSet& result, unsigned column, Kind kind) {
  if (result.isNull(column)) return nullptr;
  if (kind == Kind::is_signed) return std::int64_t{result.getInt64(column)};
  if (kind == Kind::is_unsigned) return std::uint64_t{result.getUInt64(column)};
  if (kind == Kind::real) return static_cast<double>(result.getDouble(column));
  return std::string(to_view(result.getString(column)));
}

Rows read_rows(sql::ResultSet& result, std::size_t& bytes) {
  sql::ResultSetMetaData& columns = *result.getMetaData();
  auto names = std::make_shared<Row::Names>();
  std::vector<Kind> kinds;
  for (unsigned i = 1; i <= columns.getColumnCount(); ++i) {
    names->emplace_back(to_view(columns.getColumnLabel(i)));
    kinds.push_back(kind_of(columns, i));
  }

  Rows rows;
  rows.reserve(result.rowsCount());
  while (result.next()) {
    std::vector<Row::Value> values;
    values.reserve(kinds.size());
    for (unsigned i = 0; i < kinds.size(); ++i) {
      values.push_back(read_value(result, i + 1, kinds[i]));
      const auto* text = std::get_if<std::string>(&values.back());
      bytes += text != nullptr ? text->size() : 8;
    }
    rows.emplace_back(names, std::move(values));
  }
  return rows;
}

// Turns the connector's exceptions into ours. Any other exception out of a call (no memory) leaves the protocol in an
// unknown state, so that the connection is given up.
template <typename Call>
auto ConnectorConnection::translated(std::string_view sql, Call&& call) {
  if (is_broken_) throw make_error(tried(sql), 2006, "HY000", "an earlier error has broken the connection");
  try {
    return call();
  } catch (const sql::SQLException& native) {
    raise(sql, native);
  } catch (const Error&) {
    throw;  // refused by us: nothing was sent
  } catch (...) {
    is_broken_ = true;
    throw;
  }
}

void ConnectorConnection::raise(std::string_view sql, const sql::SQLException& native) {
  MysqlError error = make_error(tried(sql), native.getErrorCode(), native.getSQLState(), native.what());
  if (error.breaks_connection()) is_broken_ = true;
  // After a failover the old primary keeps answering, read-only: the next borrower should find the new one.
  if (error.code() == 1290 || error.code() == 1792 || error.code() == 1836) is_retired_ = true;
  throw error;
}

void ConnectorConnection::check_size(std::string_view sql, std::span<const Param> params) const {
  const std::size_t bytes = sql.size() + bytes_of(params);
  if (max_allowed_packet_ == 0 || bytes <= max_allowed_packet_) return;
  throw make_error(tried(sql), 1153, "08S01",
                   "not sent: " + std::to_string(bytes) + " bytes exceed the server's max_allowed_packet of " +
                       std::to_string(max_allowed_packet_));
}

Prepared& ConnectorConnection::prepare(std::string_view sql, std::span<const Param> params) {
  if (Prepared* known = statements_.find(sql, params)) return *known;
  auto prepared = std::make_unique<Prepared>();
  prepared->native.reset(native_->prepareStatement(to_native(sql)));
  prepared->parameters = prepared->native->getParameterMetaData()->getParameterCount();
  prepared->returns_rows = prepared->native->getMetaData()->getColumnCount() > 0;
  const std::string keyword = first_keyword(sql);
  prepared->is_call = keyword == "CALL";
  prepared->changes_rows = !prepared->returns_rows &&
                           (keyword == "INSERT" || keyword == "UPDATE" || keyword == "DELETE" || keyword == "REPLACE");
  if (prepared->parameters != params.size()) {
    throw MisuseError(tried(sql) + " has " + std::to_string(prepared->parameters) + " placeholders but was given " +
                      std::to_string(params.size()) + " values");
  }
  return *statements_.put(sql, params, std::move(prepared));
}

// Prepares, binds and runs. A statement is forgotten after an error that may have left it in an odd state, and when it
// has grown fat.
template <typename Call>
auto ConnectorConnection::run(std::string_view sql, std::span<const Param> params, Call&& call) {
  return translated(sql, [&] {
    check_size(sql, params);
    has_open_transaction_ = true;
    Prepared& statement = prepare(sql, params);
    std::size_t bytes = bytes_of(params);
    try {
      bind(*statement.native, params);
      auto result = call(statement, bytes);
      if (bytes > kKeptBytes) statements_.erase(&statement);
      return result;
    } catch (const sql::SQLException& error) {
      const int code = error.getErrorCode();
      const bool is_intact = code >= 1000 && code < 2000 && code != kUnknownStatement && code != kNeedsReprepare;
      if (!is_intact || bytes > kKeptBytes) statements_.erase(&statement);
      throw;
    }
  });
}

std::uint64_t ConnectorConnection::execute(std::string_view sql, std::span<const Param> params) {
  return run(sql, params, [&](Prepared& statement, std::size_t&) -> std::uint64_t {
    if (statement.returns_rows) throw MisuseError(tried(sql) + " returns rows and was not run: use query()");
    if (statement.is_call) {
      if (statement.native->execute()) discard_results(*statement.native);
      return 0;
    }
    const int affected = statement.native->executeUpdate();
    if (affected == -1) {  // rows after all: some SHOW and CHECK statements say so only now
      discard_results(*statement.native);
      throw MisuseError(tried(sql) + " returned rows: use query()");
    }
    return static_cast<std::uint32_t>(affected);
  });
}

Rows ConnectorConnection::query(std::string_view sql, std::span<const Param> params) {
  return run(sql, params, [&](Prepared& statement, std::size_t& bytes) {
    if (statement.changes_rows) throw MisuseError(tried(sql) + " returns no rows and was not run: use execute()");
    Rows rows;
    if (!statement.native->execute()) return rows;
    {
      const std::unique_ptr<sql::ResultSet> result(statement.native->getResultSet());
      rows = read_rows(*result, bytes);
    }
    if (statement.is_call && statement.native->getMoreResults()) discard_results(*statement.native);
    return rows;
  });
}

void ConnectorConnection::control(std::string_view sql) {
  translated(sql, [&] {
    has_open_transaction_ = true;
    const std::unique_ptr<sql::Statement> statement(native_->createStatement());
    if (statement->execute(to_native(sql))) discard_results(*statement);
  });
  if (sql == "COMMIT" || sql == "ROLLBACK") has_open_transaction_ = false;
}

bool ConnectorConnection::ping() noexcept {
  try {
    if (!is_broken_ && native_->isValid()) return true;
  } catch (...) {  // as good as a false
  }
  is_broken_ = true;
  return false;
}

// One value of a text statement: the prepared protocol would fill the cache with what is asked once.
std::string ConnectorConnection::ask(std::string_view sql, unsigned column) {
  return translated(sql, [&] {
    const std::unique_ptr<sql::Statement> statement(native_->createStatement());
    const std::unique_ptr<sql::ResultSet> result(statement->executeQuery(to_native(sql)));
    return result->next() ? std::string(to_view(result->getString(column))) : std::string();
  });
}

// The connector has just set autocommit and REPEATABLE READ, whatever the server's defaults are.
void ConnectorConnection::configure(const PoolOptions& options, std::chrono::seconds wait_timeout) {
  if (!options.tls_ca.empty() && ask("SHOW STATUS LIKE 'Ssl_cipher'", 2).empty()) {
    throw MisuseError("connect to " + options.url + ": tls_ca is set, but the connection is not encrypted");
  }
  const std::string lock_wait = std::to_string(options.lock_wait_timeout.count());
  control("SET NAMES utf8mb4, autocommit = 0, completion_type = 0, time_zone = '+00:00', sql_mode = '" +
          std::string(kSqlMode) + "', wait_timeout = " + std::to_string(wait_timeout.count()) +
          ", innodb_lock_wait_timeout = " + lock_wait + ", lock_wait_timeout = " + lock_wait);
  control("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED");
  max_allowed_packet_ = std::stoull(ask("SELECT @@max_allowed_packet", 1));
  has_open_transaction_ = false;
}

// The first call of get_driver_instance() is not safe from two threads.
sql::Driver& driver() {
  static std::once_flag once;
  static sql::Driver* instance = nullptr;
  std::call_once(once, [] { instance = get_driver_instance(); });
  return *instance;
}

sql::ConnectOptionsMap native_options(const PoolOptions& options) {
  const int read_timeout = static_cast<int>(options.read_timeout.count());
  sql::ConnectOptionsMap native;
  native["hostName"] = to_native(options.url);
  native["userName"] = to_native(options.user);
  native["password"] = to_native(
      options.password_file.empty() ? options.password : read_secret_file("password_file", options.password_file));
  native["schema"] = to_native(options.schema);
  native["OPT_CHARSET_NAME"] = to_native("utf8mb4");
  native["OPT_CONNECT_TIMEOUT"] = static_cast<int>(options.connect_timeout.count());
  native["OPT_READ_TIMEOUT"] = read_timeout;
  native["OPT_WRITE_TIMEOUT"] = read_timeout;
  native["OPT_LOCAL_INFILE"] = 0;  // on by default: a rogue server could read this machine's files
  if (!options.tls_ca.empty()) {
    if (!std::ifstream(options.tls_ca)) {
      throw ConfigError("tls_ca",
                        "tls_ca " + options.tls_ca + " cannot be opened: " + std::generic_category().message(errno));
    }
    native["sslCA"] = to_native(options.tls_ca);
    native["sslVerify"] = true;  // sslEnforce alone falls back to clear text
  }
  return native;
}

}  // namespace

std::unique_ptr<Connection> connect_to_server(const PoolOptions& options, std::chrono::seconds wait_timeout) {
  sql::ConnectOptionsMap native = native_options(options);
  std::unique_ptr<ConnectorConnection> connection;
  try {
    connection = std::make_unique<ConnectorConnection>(std::unique_ptr<sql::Connection>(driver().connect(native)));
  } catch (const sql::SQLException& error) {
    throw make_error("connect to " + options.url + " as " + options.user, error.getErrorCode(), error.getSQLState(),
                     error.what());
  }
  connection->configure(options, wait_timeout);
  return connection;
}

}  // namespace oncemark::mysql
