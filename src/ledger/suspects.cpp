#include <oncemark/ledger/suspects.hpp>

#include <algorithm>
#include <map>
#include <string>
#include <utility>

#include <oncemark/core/faults.hpp>
#include <oncemark/core/id.hpp>

#include "mysql/in_list.hpp"

namespace oncemark::ledger {
namespace {

// SQL, because times are the server's.
constexpr std::string_view kIsVoid = "taken_at < UTC_TIMESTAMP(6) - INTERVAL 1 DAY";
constexpr std::string_view kIsStale = "taken_at < UTC_TIMESTAMP(6) - INTERVAL 7 DAY";

// In the order of the primary key: two processes that note and clear the same records then wait for each other
// instead of deadlocking.
std::vector<const Position*> in_lock_order(std::span<const Position> records) {
  std::vector<const Position*> sorted;
  sorted.reserve(records.size());
  for (const Position& record : records) sorted.push_back(&record);
  std::ranges::sort(sorted, [](const Position* a, const Position* b) { return *a < *b; });
  return sorted;
}

std::string insert_sql(std::size_t rows) {
  std::string sql =
      "INSERT INTO suspect_message (consumer, read_topic, read_partition, read_offset, tries, token, taken_at) VALUES ";
  for (std::size_t i = 0; i < rows; ++i) {
    sql += i == 0 ? "(" : ", (";
    sql += "?, ?, ?, ?, 1, ?, UTC_TIMESTAMP(6))";
  }
  return sql + " ON DUPLICATE KEY UPDATE ";
}

void bind_rows(std::vector<mysql::Param>& params, std::string_view consumer, std::span<const Position* const> records,
               std::uint64_t token) {
  params.reserve(records.size() * 5);
  for (const Position* record : records) {
    params.emplace_back(consumer);
    params.emplace_back(record->topic);
    params.emplace_back(record->partition);
    params.emplace_back(record->offset);
    params.emplace_back(token);
  }
}

/// Rows of one topic, as what a statement selects them from and what that is bound to.
struct Rows {
  std::string from;
  std::vector<mysql::Param> params;
};

// Joined record by record: for a list of them MariaDB compares each row with each record (35 µs a row for 128 records, 125
// for 512, against 11 to 17), and may read, and lock, the rows of others.
std::vector<Rows> rows_of(std::string_view consumer, std::span<const Position> records) {
  std::vector<Rows> topics;
  const std::vector<const Position*> sorted = in_lock_order(records);
  for (auto first = sorted.begin(); first != sorted.end();) {
    const std::string& topic = (*first)->topic;
    const auto end = std::find_if(first, sorted.end(), [&](const Position* record) { return record->topic != topic; });
    Rows rows{.from = "(SELECT CAST(? AS SIGNED) AS p, CAST(? AS SIGNED) AS o", .params = {}};
    const auto count = static_cast<std::size_t>(end - first);
    for (std::size_t n = 0; n < mysql::statement_size(count); ++n) {
      if (n > 0) rows.from += " UNION ALL SELECT ?, ?";
      const Position& record = *first[static_cast<std::ptrdiff_t>(std::min(n, count - 1))];
      rows.params.emplace_back(record.partition);
      rows.params.emplace_back(record.offset);
    }
    rows.from +=
        ") AS r STRAIGHT_JOIN suspect_message AS s "
        "ON s.consumer = ? AND s.read_topic = ? AND s.read_partition = r.p AND s.read_offset = r.o";
    rows.params.emplace_back(consumer);
    rows.params.emplace_back(topic);
    topics.push_back(std::move(rows));
    first = end;
  }
  return topics;
}

}  // namespace

std::vector<std::uint32_t> note_suspects(mysql::Pool& pool, std::string_view consumer,
                                         std::span<const Position> records) {
  std::vector<std::uint32_t> tries(records.size(), 1);
  if (records.empty()) return tries;
  const std::uint64_t token = random_token();
  // Assignments take effect from left to right. A row that has to run alone keeps its tries and its token, but its
  // time changes: so every row that was there counts two affected rows, and their sum tells whether there was one.
  const std::string sql = insert_sql(records.size()) + "token = IF(tries < 2 OR " + std::string(kIsVoid) +
                          ", VALUES(token), token), tries = IF(" + std::string(kIsVoid) +
                          ", 1, IF(tries < 2, tries + 1, tries)), taken_at = VALUES(taken_at)";
  std::vector<mysql::Param> params;
  bind_rows(params, consumer, in_lock_order(records), token);

  pool.transact([&](mysql::Transaction& tx) {
    tries.assign(records.size(), 1);
    if (tx.execute_with(sql, params) == records.size()) return;
    std::map<Position, std::uint32_t> noted;
    for (const Rows& rows : rows_of(consumer, records)) {
      for (const mysql::Row& row :
           tx.query_with("SELECT s.read_topic, s.read_partition, s.read_offset, s.tries, s.token FROM " + rows.from,
                         rows.params)) {
        const bool is_ours = row.get<std::uint64_t>(4) == token;
        noted[{row.get<std::string>(0), row.get<std::int32_t>(1), row.get<std::int64_t>(2)}] =
            is_ours ? row.get<std::uint32_t>(3) : 0;
      }
    }
    for (std::size_t i = 0; i < records.size(); ++i) tries[i] = noted.at(records[i]);
  });
  ONCEMARK_FAIL_POINT("suspects.after_note");
  return tries;
}

std::uint32_t note_suspect_alone(mysql::Pool& pool, std::string_view consumer, const Position& record) {
  const std::string sql = insert_sql(1) + "token = VALUES(token), tries = IF(" + std::string(kIsVoid) +
                          ", 1, tries + 1), taken_at = VALUES(taken_at)";
  const Position* const records[] = {&record};
  std::vector<mysql::Param> params;
  bind_rows(params, consumer, records, random_token());
  return pool.transact([&](mysql::Transaction& tx) {
    tx.execute_with(sql, params);
    return tx
        .query_row(
            "SELECT tries FROM suspect_message "
            "WHERE consumer = ? AND read_topic = ? AND read_partition = ? AND read_offset = ?",
            consumer, record.topic, record.partition, record.offset)
        ->get<std::uint32_t>(0);
  });
}

void clear_suspects(mysql::Transaction& tx, std::string_view consumer, std::span<const Position> records) {
  for (const Rows& rows : rows_of(consumer, records)) tx.execute_with("DELETE s FROM " + rows.from, rows.params);
}

void withdraw_suspects(mysql::Pool& pool, std::string_view consumer, std::span<const Position> records) {
  if (records.empty()) return;
  pool.transact([&](mysql::Transaction& tx) {
    for (const Rows& rows : rows_of(consumer, records)) {
      tx.execute_with("DELETE s FROM " + rows.from + " AND s.tries <= 1", rows.params);
      tx.execute_with("UPDATE " + rows.from + " AND s.tries > 1 SET s.tries = s.tries - 1", rows.params);
    }
  });
}

std::uint64_t count_stale_suspects(mysql::Transaction& tx) {
  return tx.query_row("SELECT COUNT(*) FROM suspect_message WHERE " + std::string(kIsStale))->get<std::uint64_t>(0);
}

std::uint64_t remove_stale_suspects(mysql::Transaction& tx, std::size_t limit) {
  std::map<std::string, std::vector<Position>> stale;
  std::uint64_t rows = 0;
  for (const mysql::Row& row : tx.query("SELECT consumer, read_topic, read_partition, read_offset "
                                        "FROM suspect_message WHERE " +
                                            std::string(kIsStale) + " LIMIT ?",
                                        limit)) {
    stale[row.get<std::string>(0)].push_back(
        {row.get<std::string>(1), row.get<std::int32_t>(2), row.get<std::int64_t>(3)});
    ++rows;
  }
  for (const auto& [consumer, records] : stale) clear_suspects(tx, consumer, records);
  return rows;
}

std::uint64_t sweep_suspects(mysql::Pool& pool) {
  return pool.transact([](mysql::Transaction& tx) { return remove_stale_suspects(tx, 1'000); });
}

}  // namespace oncemark::ledger
