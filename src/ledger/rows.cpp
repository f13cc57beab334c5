#include "ledger/rows.hpp"

namespace oncemark::ledger {

std::string insert_rows_sql(std::size_t rows) {
  std::string sql =
      "INSERT INTO consumed_message (consumer, message_key, state, life, attempt, token, payload_hash, "
      "message_id, origin_topic, origin_partition, origin_offset, event_time, consumed_at) VALUES ";
  for (std::size_t i = 0; i < rows; ++i) {
    sql += i == 0 ? "(" : ", (";
    sql += "?, ?, ?, 1, ?, ?, ?, ?, ?, ?, ?, ?, UTC_TIMESTAMP(6))";
  }
  sql += " ON DUPLICATE KEY UPDATE message_key = message_key";
  return sql;
}

void bind_row(std::vector<mysql::Param>& params, std::string_view consumer, const Message& message, State state,
              std::uint32_t attempt, std::uint64_t token, std::uint64_t payload_hash) {
  params.emplace_back(consumer);
  params.emplace_back(message.business_key);
  params.emplace_back(to_string(state));
  params.emplace_back(attempt);
  params.emplace_back(token);
  params.emplace_back(payload_hash);
  params.emplace_back(message.id);
  params.emplace_back(message.origin.topic);
  params.emplace_back(message.origin.partition);
  params.emplace_back(message.origin.offset);
  params.emplace_back(message.event_time);
}

std::optional<Standing> fail_once_more(mysql::Transaction& tx, std::string_view consumer, const Message& message,
                                       const Standing& found, State expected, State next) {
  if (found.state != expected || found.life != message.life || found.attempt + 1 != message.attempt) {
    return std::nullopt;
  }
  tx.execute(
      "UPDATE consumed_message SET state = ?, attempt = attempt + 1, consumed_at = UTC_TIMESTAMP(6) "
      "WHERE consumer = ? AND message_key = ?",
      to_string(next), consumer, message.business_key);
  return Standing{.state = next, .life = found.life, .attempt = found.attempt + 1, .payload_hash = found.payload_hash};
}

Standing read_standing(const mysql::Row& row, std::size_t first_column) {
  return {.state = parse_state(row.get<std::string>(first_column)),
          .life = row.get<std::uint32_t>(first_column + 1),
          .attempt = row.get<std::uint32_t>(first_column + 2),
          .payload_hash = row.get<std::uint64_t>(first_column + 3)};
}

}  // namespace oncemark::ledger
