#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace oncemark::mysql {

/// The first keyword of a statement in upper case, after blanks, comments and opening parentheses; empty if none.
[[nodiscard]] std::string first_keyword(std::string_view sql);

/// What makes a statement end the transaction it runs in, or change how it ends: "CREATE TABLE", "SET AUTOCOMMIT".
/// Empty for statements that are fine inside a transaction.
///
/// Shape:   reads keywords only, and errs on the side of refusing: both meanings of a versioned comment are checked,
///          compound statements and EXECUTE are refused because of what they may hold. CALL passes: what a procedure
///          does cannot be read here, Transaction guards it with a savepoint.
/// Source:  MySQL manual, "Statements That Cause an Implicit Commit"; MariaDB's page of the same name.
[[nodiscard]] std::optional<std::string> ends_transaction(std::string_view sql);

}  // namespace oncemark::mysql
