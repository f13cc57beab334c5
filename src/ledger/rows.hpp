#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <oncemark/ledger/state.hpp>
#include <oncemark/message/message.hpp>
#include <oncemark/mysql/row.hpp>
#include <oncemark/mysql/transaction.hpp>

namespace oncemark::ledger {

/// INSERT of `rows` state rows that changes nothing where one exists: affected rows are the fresh ones.
/// Never INSERT IGNORE: it cuts an over-long key and calls the result a duplicate.
[[nodiscard]] std::string insert_rows_sql(std::size_t rows);

/// What one row of insert_rows_sql() is bound to, in order.
void bind_row(std::vector<mysql::Param>& params, std::string_view consumer, const Message& message, State state,
              std::uint32_t attempt, std::uint64_t token, std::uint64_t payload_hash);

/// The locked row `found` fails once more and is `next`: only if it waits, as `expected`, for just this delivery.
[[nodiscard]] std::optional<Standing> fail_once_more(mysql::Transaction& tx, std::string_view consumer,
                                                     const Message& message, const Standing& found, State expected,
                                                     State next);

[[nodiscard]] Standing read_standing(const mysql::Row& row, std::size_t first_column);

}  // namespace oncemark::ledger
