#include "outbox/relay_rows.hpp"

#include <algorithm>
#include <bit>
#include <iterator>
#include <unordered_set>
#include <utility>

#include <oncemark/core/error.hpp>
#include <oncemark/message/codec.hpp>
#include <oncemark/message/names.hpp>
#include <oncemark/mysql/errors.hpp>
#include <oncemark/outbox/table.hpp>

#include "core/mutants.hpp"

namespace oncemark::outbox {
namespace {

using mysql::Param;
using mysql::Row;

constexpr std::size_t kIdsPerStatement = 2'048;
constexpr std::size_t kLastErrorBytes = 1'024;  // what the column holds
constexpr int kContentionTries = 3;
constexpr std::size_t kPromotedAtOnce = 1'000;

enum Kind : int { pending, failing, due };

std::string placeholders(std::size_t count) {
  std::string text = "?";
  for (std::size_t i = 1; i < count; ++i) text += ", ?";
  return text;
}

// "id IN (…)" over a power of two of placeholders, so that there are few texts to prepare; the last id is repeated.
std::string ids_condition(const std::vector<std::uint64_t>& ids, std::vector<Param>& params) {
  const std::size_t count = std::bit_ceil(ids.size());
  for (std::size_t i = 0; i < count; ++i) params.emplace_back(ids[std::min(i, ids.size() - 1)]);
  return "id IN (" + placeholders(count) + ")";
}

// Calls `work` with at most kIdsPerStatement ids at a time.
template <typename Work>
void in_parts(const std::vector<std::uint64_t>& ids, Work&& work) {
  for (std::size_t begin = 0; begin < ids.size(); begin += kIdsPerStatement) {
    const std::size_t end = std::min(begin + kIdsPerStatement, ids.size());
    work(std::vector<std::uint64_t>(ids.begin() + static_cast<std::ptrdiff_t>(begin),
                                    ids.begin() + static_cast<std::ptrdiff_t>(end)));
  }
}

OutboxRow to_outbox_row(const Row& row) {
  OutboxRow result;
  result.id = row.get<std::uint64_t>(0);
  result.message_id = row.get<std::string>(1);
  result.record.topic = row.get<std::string>(2);
  result.record.key = row.get<Bytes>(3);
  result.key = hash_of(result.record.key);
  result.record.payload = row.get<Bytes>(5);
  result.attempts = row.get<int>(7);
  result.is_failure = !row.get<std::string>(8).empty();
  set_headers(result, row.get<std::string>(6), row.get<Time>(4));
  return result;
}

std::uint64_t mark_sent_in(mysql::Session& session, const std::vector<std::uint64_t>& ids) {
  std::vector<Param> params;
  const std::string condition = ids_condition(ids, params);
  return session.execute(
      "UPDATE outbox_message FORCE INDEX (PRIMARY) SET status = 'sent', sent_at = UTC_TIMESTAMP(6), "
      "last_error = NULL WHERE " +
          condition + " AND status <> 'sent'",
      params);
}

std::uint64_t remove_in(mysql::Session& session, const std::vector<std::uint64_t>& ids) {
  std::vector<Param> params;
  const std::string condition = ids_condition(ids, params);
  return session.execute("DELETE FROM outbox_message WHERE " + condition, params);
}

// A scan passes over rows whose transaction is still committing; a look-up of one row waits for it. Rows that are gone
// cost a look-up each, and there are few.
void settle_one_by_one(mysql::Session& session, const std::vector<std::uint64_t>& ids, SentRows sent_rows) {
  std::unordered_set<std::uint64_t> sent;
  if (sent_rows == SentRows::kept) {
    std::vector<Param> params;
    const std::string condition = ids_condition(ids, params);
    for (const Row& row : session.query(
             "SELECT id FROM outbox_message FORCE INDEX (PRIMARY) WHERE " + condition + " AND status = 'sent'",
             params)) {
      sent.insert(row.get<std::uint64_t>(0));
    }
  }
  for (const std::uint64_t id : ids) {
    if (sent_rows == SentRows::removed) {
      remove_in(session, {id});
    } else if (!sent.contains(id)) {
      mark_sent_in(session, {id});
    }
  }
}

}  // namespace

// A foreign record without an event time gets none on its way round by the retry topic: its handler sees the headers
// that it came with.
void set_headers(OutboxRow& row, std::string_view encoded, Time event_time) {
  Headers& headers = row.record.headers;
  try {
    headers = decode_headers(encoded);
  } catch (const PermanentError& error) {
    row.defect = error.what();
  }
  headers.set(names::kMessageId, row.message_id);
  if (!row.is_failure || headers.contains(names::kEventTime))
    headers.set(names::kEventTime, format_rfc3339(event_time));
}

KeyHash hash_of(const Bytes& message_key) noexcept {
  if (message_key.is_null()) return std::nullopt;
  return payload_hash(message_key);
}

// A lost race for a row lock is tried again at once; the locks of others are short ones.
template <typename Work>
auto RelayRows::with_connection(Work&& work) {
  // The server is about to drop a session that lay idle for so long.
  const SteadyTime now = std::chrono::steady_clock::now();
  if (now - std::exchange(used_, now) > pool_.options().wait_timeout / 2) connection_.reset();
  for (int tries = 1;; ++tries) {
    try {
      if (!connection_) {
        auto fresh = pool_.connect(pool_.options().wait_timeout);
        // The rule "autocommit off" is for transactions of several statements; here are none. A wait for a row lock
        // must stay well below the lease's idle limit.
        fresh->control("SET autocommit = 1, innodb_lock_wait_timeout = 1");
        connection_ = std::move(fresh);
      }
      return work(*connection_);
    } catch (const mysql::MysqlError& error) {
      if (connection_ && !connection_->is_usable()) connection_.reset();
      if (!error.is_contention() || tries == kContentionTries) throw;
    }
  }
}

std::uint64_t RelayRows::execute(const std::string& sql, const std::vector<Param>& params) {
  return with_connection([&](mysql::Connection& connection) { return connection.execute(sql, params); });
}

mysql::Rows RelayRows::query(const std::string& sql, const std::vector<Param>& params) {
  return with_connection([&](mysql::Connection& connection) { return connection.query(sql, params); });
}

// One statement, hence one read view. Each part reads a range of an index and not a single row of the table; sent rows
// and rows that are not due lie outside of the ranges.
Peek RelayRows::peek(const std::vector<int>& shards, std::size_t limit, std::size_t known_failing) {
  std::vector<Param> params{relay_};
  std::string shard_condition;
  if (shards.size() < static_cast<std::size_t>(kShards)) {
    shard_condition = " AND shard IN (" + placeholders(kShards) + ")";
    for (std::size_t i = 0; i < kShards; ++i) params.emplace_back(shards[std::min(i, shards.size() - 1)]);
  }
  params.emplace_back(limit);
  params.emplace_back(relay_);
  params.emplace_back(relay_);
  params.emplace_back(kPromotedAtOnce + known_failing);
  const mysql::Rows rows = query(
      "(SELECT 0 AS kind, id, 1 AS is_due FROM outbox_message FORCE INDEX (to_send) "
      "WHERE relay = ? AND status = 'pending'" +
          shard_condition +
          " ORDER BY id LIMIT ?) "
          "UNION ALL (SELECT 1, id, 0 FROM outbox_message FORCE INDEX (to_send) WHERE relay = ? AND status = "
          "'failing') "
          "UNION ALL (SELECT 2, id, 1 FROM outbox_message FORCE INDEX (due) "
          "WHERE relay = ? AND due_at <= UTC_TIMESTAMP(6) ORDER BY due_at LIMIT ?)",
      params);

  Peek found;
  for (const Row& row : rows) {
    const auto id = row.get<std::uint64_t>(1);
    switch (row.get<int>(0)) {
      case Kind::pending:
        found.pending.push_back(id);
        break;
      case Kind::failing:
        found.failing.push_back({id, false});
        break;
      default:
        found.due.push_back(id);
    }
  }
  std::sort(found.pending.begin(), found.pending.end());
  if (has_mutant("relay_by_max_id")) {
    std::erase_if(found.pending, [&](std::uint64_t id) { return id <= highest_; });
    if (!found.pending.empty()) highest_ = found.pending.back();
  }
  // What is due is failing or waiting.
  const std::unordered_set<std::uint64_t> due(found.due.begin(), found.due.end());
  std::unordered_set<std::uint64_t> failing;
  for (FailingRow& row : found.failing) {
    row.is_due = due.contains(row.id);
    failing.insert(row.id);
  }
  std::erase_if(found.due, [&](std::uint64_t id) { return failing.contains(id); });
  return found;
}

void RelayRows::promote(const std::vector<std::uint64_t>& ids) {
  in_parts(ids, [&](const std::vector<std::uint64_t>& part) {
    std::vector<Param> params;
    const std::string condition = ids_condition(part, params);
    execute("UPDATE outbox_message FORCE INDEX (PRIMARY) SET status = 'pending' WHERE " + condition +
                " AND status = 'waiting' AND available_at <= UTC_TIMESTAMP(6)",
            params);
  });
}

std::vector<RowKey> RelayRows::keys(const std::vector<std::uint64_t>& ids) {
  std::vector<RowKey> found;
  in_parts(ids, [&](const std::vector<std::uint64_t>& part) {
    std::vector<Param> params;
    const std::string condition = ids_condition(part, params);
    for (const Row& row : query("SELECT id, shard, message_key FROM outbox_message FORCE INDEX (PRIMARY) WHERE " +
                                    condition + " ORDER BY id",
                                params)) {
      found.push_back({row.get<std::uint64_t>(0), row.get<int>(1), hash_of(row.get<Bytes>(2))});
    }
  });
  return found;
}

std::vector<OutboxRow> RelayRows::read(const std::vector<std::uint64_t>& ids) {
  std::vector<OutboxRow> found;
  found.reserve(ids.size());
  in_parts(ids, [&](const std::vector<std::uint64_t>& part) {
    std::vector<Param> params;
    const std::string condition = ids_condition(part, params);
    for (const Row& row :
         query("SELECT id, message_id, topic, message_key, event_time, payload, headers, attempts, purpose "
               "FROM outbox_message FORCE INDEX (PRIMARY) WHERE " +
                   condition + " AND status IN ('pending', 'failing') ORDER BY id",
               params)) {
      found.push_back(to_outbox_row(row));
    }
  });
  return found;
}

void RelayRows::mark_sent(const std::vector<std::uint64_t>& ids) {
  in_parts(ids, [&](const std::vector<std::uint64_t>& part) {
    with_connection([&](mysql::Connection& connection) { return mark_sent_in(connection, part); });
  });
}

void RelayRows::remove(const std::vector<std::uint64_t>& ids) {
  in_parts(ids, [&](const std::vector<std::uint64_t>& part) {
    with_connection([&](mysql::Connection& connection) { return remove_in(connection, part); });
  });
}

std::uint64_t RelayRows::highest_id() {
  return query("SELECT COALESCE(MAX(id), 0) FROM outbox_message", {}).at(0).get<std::uint64_t>(0);
}

// A row may be in the binlog and not yet visible, where a plain read would take it for one that was sent and removed. A
// look-up of one row that locks waits for its transaction.
std::vector<std::uint64_t> RelayRows::still_pending(const std::vector<std::uint64_t>& ids) {
  std::unordered_set<std::uint64_t> pending;
  std::unordered_set<std::uint64_t> seen;
  in_parts(ids, [&](const std::vector<std::uint64_t>& part) {
    std::vector<Param> params;
    const std::string condition = ids_condition(part, params);
    for (const Row& row :
         query("SELECT id, status = 'pending' FROM outbox_message FORCE INDEX (PRIMARY) WHERE " + condition, params)) {
      seen.insert(row.get<std::uint64_t>(0));
      if (row.get<bool>(1)) pending.insert(row.get<std::uint64_t>(0));
    }
  });
  for (const std::uint64_t id : ids) {
    if (seen.contains(id)) continue;
    const mysql::Rows row =
        query("SELECT status = 'pending' FROM outbox_message WHERE id = ? LOCK IN SHARE MODE", {id});
    if (!row.empty() && row.front().get<bool>(0)) pending.insert(id);
  }
  std::vector<std::uint64_t> found;
  std::copy_if(ids.begin(), ids.end(), std::back_inserter(found),
               [&](std::uint64_t id) { return pending.contains(id); });
  return found;
}

void RelayRows::settle_with(const std::vector<std::uint64_t>& ids, SentRows sent_rows,
                            const std::function<void(mysql::Session&)>& also) {
  with_connection([&](mysql::Connection& connection) {
    connection.control("START TRANSACTION");
    try {
      in_parts(ids, [&](const std::vector<std::uint64_t>& part) {
        const std::uint64_t settled =
            sent_rows == SentRows::removed ? remove_in(connection, part) : mark_sent_in(connection, part);
        if (settled < part.size()) settle_one_by_one(connection, part, sent_rows);
      });
      also(connection);
      connection.control("COMMIT");
    } catch (...) {
      if (connection.is_usable()) connection.control("ROLLBACK");
      throw;
    }
    return 0;
  });
}

void RelayRows::mark_failing(const std::vector<std::uint64_t>& ids, std::chrono::milliseconds delay,
                             const std::string& error, Attempt attempt) {
  in_parts(ids, [&](const std::vector<std::uint64_t>& part) {
    std::vector<Param> params{attempt == Attempt::counted ? 1 : 0, std::chrono::microseconds(delay).count(),
                              truncate_utf8(error, kLastErrorBytes)};
    const std::string condition = ids_condition(part, params);
    execute(
        "UPDATE outbox_message FORCE INDEX (PRIMARY) SET status = 'failing', attempts = attempts + ?, "
        "available_at = UTC_TIMESTAMP(6) + INTERVAL ? MICROSECOND, last_error = ? WHERE " +
            condition + " AND status IN ('pending', 'failing')",
        params);
  });
}

void RelayRows::mark_dead(std::uint64_t id, const std::string& error) {
  execute(
      "UPDATE outbox_message FORCE INDEX (PRIMARY) SET status = 'dead', attempts = attempts + 1, last_error = ? "
      "WHERE id = ? AND status IN ('pending', 'failing')",
      {truncate_utf8(error, kLastErrorBytes), id});
}

}  // namespace oncemark::outbox
