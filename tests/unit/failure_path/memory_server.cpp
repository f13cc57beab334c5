#include "unit/failure_path/memory_server.hpp"

#include <map>
#include <regex>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <sqlite3.h>

#include <oncemark/core/clock.hpp>
#include <oncemark/mysql/errors.hpp>
#include <oncemark/mysql/migration.hpp>

#include "mysql/driver.hpp"

namespace oncemark::testing {
namespace {

using std::chrono::microseconds;

/// 2025-11-25 06:00:00.000000
std::string datetime(Time time) {
  std::string text = format_rfc3339(time);
  text[text.find('T')] = ' ';
  text.pop_back();
  return text;
}

std::string replaced(std::string text, const char* pattern, const char* with) {
  return std::regex_replace(text, std::regex(pattern), with);
}

/// From MySQL's dialect, as far as the failure path uses it.
std::string translated(std::string_view sql) {
  std::string text(sql);
  const std::size_t update = text.find(" ON DUPLICATE KEY UPDATE ");
  if (update != std::string::npos) {
    // A row that is changed into itself counts as none.
    const bool is_nothing = text.find("message_key = message_key", update) != std::string::npos ||
                            text.find("next_seq = next_seq", update) != std::string::npos;
    const std::string changes = replaced(text.substr(update + 25), R"(VALUES\((\w+)\))", "excluded.$1");
    text.resize(update);
    text += is_nothing ? " ON CONFLICT DO NOTHING" : " ON CONFLICT DO UPDATE SET " + changes;
  }
  text = replaced(text, R"( FOR UPDATE( SKIP LOCKED)?)", "");
  text = replaced(text, R"(UTC_TIMESTAMP\(6\) - INTERVAL \? MICROSECOND)", "before_now(?)");
  text = replaced(text, R"(UTC_TIMESTAMP\(6\) \+ INTERVAL \? MICROSECOND)", "before_now(-?)");
  text = replaced(text, R"(TIMESTAMPDIFF\(MICROSECOND, UTC_TIMESTAMP\(6\), (\w+)\))",
                  "max(0, CAST((julianday($1) - julianday(UTC_TIMESTAMP(6))) * 86400000000 AS INTEGER))");
  text = replaced(text, R"(^DELETE c FROM \((.*)\) AS back STRAIGHT_JOIN (\w+) AS c ON c.consumer = \? AND .*$)",
                  "DELETE FROM $2 WHERE message_key IN ($1) AND consumer = ?");
  text = replaced(text, R"(CAST\(\? AS DATETIME\(6\)\))", "?");
  text = replaced(text, R"(\bIF\()", "iif(");
  text = replaced(text, R"(\bGREATEST\()", "max(");
  return replaced(text, "^START TRANSACTION$", "BEGIN");
}

/// The library's tables: their columns and unique keys; of the types only what SQLite would do something about.
std::vector<std::string> tables() {
  std::vector<std::string> statements;
  const std::regex create(R"(CREATE TABLE IF NOT EXISTS (\w+) \(([\s\S]*?)\n\) ENGINE)");
  const std::regex one_line(R"(\n  (\w+) ([^\n]*(?:\n   [^\n]*)*))");
  const std::regex alter(R"(ALTER TABLE (\w+)([^;]*))");
  const std::regex add(R"(ADD COLUMN (\w+)[^,]*?( DEFAULT \d+|,|$|'))");
  for (const mysql::Migration& migration : mysql::migrations()) {
    const std::string text = replaced(migration.sql, R"([ \t]*--[^\n]*)", "");
    for (std::sregex_iterator found(text.begin(), text.end(), create), end; found != end; ++found) {
      const std::string body = (*found)[2];
      const bool counts = body.find("AUTO_INCREMENT") != std::string::npos;
      std::string columns;
      for (std::sregex_iterator line(body.begin(), body.end(), one_line); line != end; ++line) {
        const std::string name = (*line)[1];
        std::string rest = (*line)[2];
        if (rest.ends_with(',')) rest.pop_back();
        if (name == "KEY") continue;
        std::string column;
        if (name == "PRIMARY" || name == "UNIQUE") {
          const std::string key = rest.substr(rest.find('('));
          if (counts && key == "(id)") continue;
          column = "UNIQUE " + key;
        } else if (rest.find("AUTO_INCREMENT") != std::string::npos) {
          column = name + " INTEGER PRIMARY KEY AUTOINCREMENT";
        } else {
          column = name + (rest.find("INT") != std::string::npos ? " INTEGER" : "") +
                   (rest.find("NOT NULL") != std::string::npos ? " NOT NULL" : "");
          std::smatch value;
          if (std::regex_search(rest, value, std::regex(R"( DEFAULT \S+)"))) column += value.str();
        }
        columns += (columns.empty() ? "" : ", ") + column;
      }
      statements.push_back("CREATE TABLE " + (*found)[1].str() + " (" + columns + ")");
    }
    for (std::sregex_iterator found(text.begin(), text.end(), alter), end; found != end; ++found) {
      const std::string changes = (*found)[2];
      for (std::sregex_iterator column(changes.begin(), changes.end(), add); column != end; ++column) {
        const std::string value = (*column)[2];
        statements.push_back("ALTER TABLE " + (*found)[1].str() + " ADD COLUMN " + (*column)[1].str() +
                             (value.starts_with(" DEFAULT") ? value : ""));
      }
    }
  }
  return statements;
}

}  // namespace

struct MemoryServer::State {
  sqlite3* db = nullptr;
  std::map<std::string, sqlite3_stmt*, std::less<>> prepared;
  Time now{std::chrono::seconds(1'764'000'000)};

  [[noreturn]] void refuse(std::string_view sql) const {
    if (sqlite3_errcode(db) == SQLITE_CONSTRAINT) throw mysql::make_error(sql, 1062, "23000", sqlite3_errmsg(db));
    throw std::runtime_error(std::string(sql) + ": " + sqlite3_errmsg(db));
  }
  sqlite3_stmt* prepare(std::string_view sql) {
    if (const auto found = prepared.find(sql); found != prepared.end()) return found->second;
    sqlite3_stmt* statement = nullptr;
    const std::string text = translated(sql);
    if (sqlite3_prepare_v2(db, text.c_str(), -1, &statement, nullptr) != SQLITE_OK) refuse(text);
    return prepared.emplace(sql, statement).first->second;
  }
  mysql::Rows run(std::string_view sql, std::span<const mysql::Param> params);
};

namespace {

MemoryServer::State* server = nullptr;

void bind(sqlite3_stmt* statement, int place, const mysql::Param& param) {
  const auto text = [&](std::string_view bytes) {
    sqlite3_bind_text(statement, place, bytes.empty() ? "" : bytes.data(), static_cast<int>(bytes.size()),
                      SQLITE_TRANSIENT);
  };
  std::visit(
      [&](const auto& value) {
        using Type = std::decay_t<decltype(value)>;
        if constexpr (std::is_same_v<Type, std::nullptr_t>) {
          sqlite3_bind_null(statement, place);
        } else if constexpr (std::is_same_v<Type, std::string_view>) {
          text(value);
        } else if constexpr (std::is_same_v<Type, Time>) {
          text(datetime(value));
        } else if constexpr (std::is_same_v<Type, double>) {
          sqlite3_bind_double(statement, place, value);
        } else {
          sqlite3_bind_int64(statement, place, static_cast<sqlite3_int64>(value));
        }
      },
      param.value());
}

mysql::Row::Value value_of(sqlite3_stmt* statement, int column) {
  switch (sqlite3_column_type(statement, column)) {
    case SQLITE_NULL:
      return nullptr;
    case SQLITE_INTEGER: {
      const sqlite3_int64 value = sqlite3_column_int64(statement, column);
      if (value >= 0) return static_cast<std::int64_t>(value);
      return static_cast<std::uint64_t>(value);  // a hash or a token
    }
    case SQLITE_FLOAT:
      return sqlite3_column_double(statement, column);
    default: {
      const void* bytes = sqlite3_column_blob(statement, column);
      return std::string(bytes == nullptr ? "" : static_cast<const char*>(bytes),
                         static_cast<std::size_t>(sqlite3_column_bytes(statement, column)));
    }
  }
}

void give_time(sqlite3_context* context, microseconds before_now) {
  const auto* state = static_cast<MemoryServer::State*>(sqlite3_user_data(context));
  const std::string text = datetime(state->now - before_now);
  sqlite3_result_text(context, text.c_str(), static_cast<int>(text.size()), SQLITE_TRANSIENT);
}

}  // namespace

mysql::Rows MemoryServer::State::run(std::string_view sql, std::span<const mysql::Param> params) {
  sqlite3_stmt* statement = prepare(sql);
  for (std::size_t i = 0; i < params.size(); ++i) bind(statement, static_cast<int>(i + 1), params[i]);
  const auto names = std::make_shared<mysql::Row::Names>();
  for (int i = 0; i < sqlite3_column_count(statement); ++i) names->emplace_back(sqlite3_column_name(statement, i));
  mysql::Rows rows;
  int result = SQLITE_ROW;
  while ((result = sqlite3_step(statement)) == SQLITE_ROW) {
    std::vector<mysql::Row::Value> values;
    for (int i = 0; i < sqlite3_column_count(statement); ++i) values.push_back(value_of(statement, i));
    rows.emplace_back(names, std::move(values));
  }
  const bool is_done = result == SQLITE_DONE;
  sqlite3_reset(statement);
  if (!is_done) refuse(sql);
  return rows;
}

/// A session of the one database.
class MemoryConnection final : public mysql::Connection {
 public:
  explicit MemoryConnection(MemoryServer::State& server) : server_(server) {}
  ~MemoryConnection() override {
    if (is_open_) (void)server_.run("ROLLBACK", {});
  }

  std::uint64_t execute(std::string_view sql, std::span<const mysql::Param> params) override {
    begin();
    (void)server_.run(sql, params);
    return static_cast<std::uint64_t>(sqlite3_changes(server_.db));
  }
  mysql::Rows query(std::string_view sql, std::span<const mysql::Param> params) override {
    if (sql.find("GET_LOCK") == std::string_view::npos) begin();  // held by a session that does nothing else
    return server_.run(sql, params);
  }
  void control(std::string_view sql) override {
    if (sql == "COMMIT" || sql == "ROLLBACK") {
      if (!std::exchange(is_open_, false)) return;
    } else {
      begin();
      if (sql == "START TRANSACTION") return;
    }
    (void)server_.run(sql, {});
  }
  [[nodiscard]] bool is_usable() const noexcept override { return true; }
  [[nodiscard]] bool ping() noexcept override { return true; }
  [[nodiscard]] bool has_open_transaction() const noexcept override { return is_open_; }

 private:
  // As with autocommit off.
  void begin() {
    if (std::exchange(is_open_, true)) return;
    server_.now += std::chrono::milliseconds(10);
    (void)server_.run("START TRANSACTION", {});
  }

  MemoryServer::State& server_;
  bool is_open_ = false;
};

MemoryServer::MemoryServer() : state_(std::make_unique<State>()) {
  if (sqlite3_open(":memory:", &state_->db) != SQLITE_OK) throw std::runtime_error("no SQLite");
  const auto define = [&](const char* name, int arguments, void (*body)(sqlite3_context*, int, sqlite3_value**)) {
    sqlite3_create_function(state_->db, name, arguments, SQLITE_UTF8, state_.get(), body, nullptr, nullptr);
  };
  define("UTC_TIMESTAMP", 1,
         [](sqlite3_context* context, int, sqlite3_value**) { give_time(context, microseconds(0)); });
  define("before_now", 1, [](sqlite3_context* context, int, sqlite3_value** arguments) {
    give_time(context, microseconds(sqlite3_value_int64(arguments[0])));
  });
  define("LAST_INSERT_ID", 0, [](sqlite3_context* context, int, sqlite3_value**) {
    sqlite3_result_int64(context, sqlite3_last_insert_rowid(sqlite3_context_db_handle(context)));
  });
  define("GET_LOCK", 2, [](sqlite3_context* context, int, sqlite3_value**) { sqlite3_result_int(context, 1); });
  for (const std::string& table : tables()) (void)state_->run(table, {});
  (void)state_->run("CREATE TABLE effect (message_id NOT NULL)", {});
  server = state_.get();
}

MemoryServer::~MemoryServer() {
  server = nullptr;
  for (const auto& [sql, statement] : state_->prepared) sqlite3_finalize(statement);
  sqlite3_close(state_->db);
}

mysql::PoolOptions MemoryServer::options() {
  return {.url = "tcp://memory", .user = "nobody", .schema = "memory", .size = 8};
}

void MemoryServer::clear() {
  for (const mysql::Row& row :
       state_->run("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'", {})) {
    (void)state_->run("DELETE FROM " + row.get<std::string>(0), {});
  }
}

}  // namespace oncemark::testing

// In place of src/mysql/driver.cpp, which the linker then has no need of.
std::unique_ptr<oncemark::mysql::Connection> oncemark::mysql::connect_to_server(const PoolOptions&,
                                                                                std::chrono::seconds) {
  if (testing::server == nullptr) throw std::runtime_error("there is no MemoryServer");
  return std::make_unique<testing::MemoryConnection>(*testing::server);
}
