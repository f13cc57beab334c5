#include <oncemark/mysql/migration.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <optional>

#include <oncemark/core/error.hpp>
#include <oncemark/mysql/errors.hpp>
#include <oncemark/observe/log.hpp>
#include <oncemark/version.hpp>

#include "mysql/changed_rows.hpp"
#include "mysql/driver.hpp"
#include "mysql/migration_text.hpp"
#include "mysql/schema_files.hpp"

namespace oncemark::mysql {
namespace {

using namespace std::chrono_literals;

constexpr int kNoSuchTable = 1146;
constexpr int kLockTries = 60;  // a second each: another one that migrates is waited for

std::vector<Migration> load() {
  std::vector<Migration> loaded;
  for (const SchemaFile& file : schema_files()) loaded.push_back(parse_migration(file.name, file.text));
  std::sort(loaded.begin(), loaded.end(), [](const auto& a, const auto& b) { return a.version < b.version; });
  for (std::size_t i = 1; i < loaded.size(); ++i) {
    if (loaded[i].version == loaded[i - 1].version) {
      throw MisuseError("schema files " + loaded[i - 1].name + " and " + loaded[i].name + " have the same version");
    }
  }
  return loaded;
}

MigrationState state_from(const Row& row) {
  MigrationState state;
  state.migration.version = row.get<int>("version");
  state.migration.name = row.get<std::string>("name");
  state.migration.checksum = row.get<std::string>("checksum");
  state.migration.lowest_library = row.get<int>("lowest_library");
  state.applied_at = row.get<std::string>("applied_at");
  state.is_applied = true;
  return state;
}

// What the database says; nothing when it has never been migrated.
std::vector<MigrationState> applied(Connection& connection) {
  std::vector<MigrationState> states;
  try {
    for (const Row& row : connection.query("SELECT version, name, checksum, lowest_library, "
                                           "CAST(applied_at AS CHAR) AS applied_at FROM oncemark_schema "
                                           "ORDER BY version",
                                           {})) {
      states.push_back(state_from(row));
    }
  } catch (const MysqlError& error) {
    if (error.code() != kNoSuchTable) throw;
  }
  connection.control("ROLLBACK");
  return states;
}

// Ours with what the database has of them, then those that only the database knows.
std::vector<MigrationState> status_of(Connection& connection) {
  std::vector<MigrationState> states;
  for (const Migration& migration : migrations()) states.push_back({.migration = migration});
  for (MigrationState& found : applied(connection)) {
    const auto ours = std::find_if(states.begin(), states.end(), [&](const MigrationState& state) {
      return state.migration.version == found.migration.version;
    });
    if (ours == states.end()) {
      states.push_back(std::move(found));
      continue;
    }
    ours->is_applied = true;
    ours->applied_at = found.applied_at;
    ours->checksum_matches = ours->migration.checksum == found.migration.checksum;
  }
  return states;
}

void require_same_text(const std::vector<MigrationState>& states, const std::string& schema) {
  for (const MigrationState& state : states) {
    if (state.is_applied && !state.checksum_matches) {
      throw MisuseError("database " + schema + ": the text of " + state.migration.name +
                        " that was applied is not the one of library " + std::string(kVersion) +
                        "; compare both, and use the library that the database was migrated with");
    }
  }
}

// A lock of the server's, named after the database: it outlives the commits that DDL implies, and goes with the
// connection.
void lock_migrations(Connection& connection, const std::string& schema) {
  const std::string name = ("oncemark " + schema).substr(0, 64);
  for (int tries = 0; tries < kLockTries; ++tries) {
    const std::array<Param, 1> params{Param(name)};
    if (connection.query("SELECT GET_LOCK(?, 1)", params).at(0).get<std::optional<int>>(0) == 1) return;
  }
  throw Error(ErrorKind::unavailable, "database " + schema + " has been migrated by another connection for more than " +
                                          std::to_string(kLockTries) + " s; see SHOW PROCESSLIST");
}

void apply_one(Connection& connection, const Migration& migration) {
  for (const std::string& statement : split_statements(migration.sql)) connection.control(statement);
  connection.control(record_statement(migration));
  connection.control("COMMIT");
  log(LogLevel::info, "schema migration applied", {{"version", migration.version}, {"name", migration.name}});
}

}  // namespace

const std::vector<Migration>& migrations() {
  static const std::vector<Migration> loaded = load();
  return loaded;
}

std::string print_migrations() {
  std::string text;
  for (const Migration& migration : migrations()) {
    text += "-- " + migration.name + "\n" + migration.sql;
    if (!text.ends_with('\n')) text += '\n';
    text += "\n" + record_statement(migration) + ";\nCOMMIT;\n\n";
  }
  return text;
}

std::vector<MigrationState> migration_status(Pool& pool) { return status_of(*pool.acquire()); }

std::vector<int> apply_migrations(Pool& pool) {
  PoolOptions options = pool.options();
  options.read_timeout = 1h;  // an ALTER of a large table answers late
  const std::unique_ptr<Connection> connection = connect_to_server(options, options.wait_timeout);
  lock_migrations(*connection, options.schema);

  const std::vector<MigrationState> states = status_of(*connection);
  require_same_text(states, options.schema);
  std::vector<int> done;
  for (const MigrationState& state : states) {
    if (state.is_applied) continue;
    apply_one(*connection, state.migration);
    done.push_back(state.migration.version);
  }
  return done;
}

void require_schema(Pool& pool) {
  const std::string& schema = pool.options().schema;
  const Pool::Lease connection = pool.acquire();
  const std::vector<MigrationState> states = status_of(*connection);
  require_same_text(states, schema);
  for (const MigrationState& state : states) {
    const Migration& migration = state.migration;
    if (!state.is_applied && migration.version <= kSchemaVersion) {
      throw MisuseError("database " + schema + " lacks " + migration.name + ": run `oncemark schema apply`");
    }
    if (state.is_applied && migration.lowest_library > kVersionNumber) {
      throw MisuseError("database " + schema + " was migrated to " + migration.name + ", which needs library version " +
                        std::to_string(migration.lowest_library) + " or later; this is " +
                        std::to_string(kVersionNumber) + " (" + std::string(kVersion) + "): deploy a newer program");
    }
  }
  require_changed_rows(*connection);
}

}  // namespace oncemark::mysql
