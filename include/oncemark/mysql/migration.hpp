#pragma once

#include <string>
#include <vector>

#include <oncemark/mysql/pool.hpp>

namespace oncemark::mysql {

/// One version of our tables, embedded in the library.
struct Migration {
  int version = 0;
  std::string name = {};      // file name: V001__outbox_ledger_letters.sql
  int lowest_library = 0;     // lowest library version number that may run once it is applied
  std::string sql = {};       // statements separated by ';' at the end of a line
  std::string checksum = {};  // 16 hex digits of xxh3 over the text
};

/// A migration and whether the database has it.
struct MigrationState {
  Migration migration;
  bool is_applied = false;
  std::string applied_at = {};   // UTC, empty when not applied
  bool checksum_matches = true;  // false: the text that was applied is not the text of this library
};

/// Versioned schema: what there is, what is missing, and how to get there.
///
/// Shape:   the status lists ours in order, then those that only the database knows. apply() uses a connection of its
///          own, with an hour for each statement. print_migrations() includes the rows that record them.
/// Threads: any; apply() holds a named lock on the server, so two at once do the work once.
/// Errors:  MysqlError; apply() throws MisuseError when an applied migration's text differs from ours.
/// Crash:   DDL commits by itself: a migration that died half-way is run again from its first statement, and each
///          statement is written so that this is harmless (IF NOT EXISTS).
/// Source:  design, decision 14.
[[nodiscard]] const std::vector<Migration>& migrations();
[[nodiscard]] std::string print_migrations();
[[nodiscard]] std::vector<MigrationState> migration_status(Pool& pool);
/// Applies what is missing; the versions it applied.
std::vector<int> apply_migrations(Pool& pool);

/// Throws MisuseError with the command to run when the database lacks a migration this library needs, or was
/// migrated to a version that this library is too old for; also when the connection counts found rows instead of
/// changed ones (a proxy may set CLIENT_FOUND_ROWS), since duplicates could not be told from fresh messages then.
///
/// Shape:   needs SELECT and UPDATE on oncemark_schema; changes nothing.
void require_schema(Pool& pool);

}  // namespace oncemark::mysql
