#include "transactional/rows.hpp"

#include <algorithm>
#include <bit>

#include <oncemark/core/error.hpp>
#include <oncemark/core/faults.hpp>
#include <oncemark/message/headers.hpp>
#include <oncemark/mysql/errors.hpp>
#include <oncemark/observe/log.hpp>

#include "outbox/id_list.hpp"

namespace oncemark::transactional {
namespace {

constexpr std::chrono::seconds kAskAgain{30};
constexpr std::size_t kReasonBytes = 1'024;  // what the column holds

constexpr int kDuplicate = 1062;
constexpr int kNull = 1048;
constexpr int kLockedMariaDb = 1205;  // NOWAIT says so there
constexpr int kLocked = 3572;

RowState parse_state(const std::string& text) {
  if (text == "committed") return RowState::committed;
  if (text == "sent") return RowState::sent;
  if (text == "discarded") return RowState::discarded;
  return RowState::rolled_back;
}

Finding finding_of(RowState state) { return state == RowState::committed ? Finding::committed : Finding::settled; }

std::uint64_t insert_rolled_back(mysql::Transaction& tx, const std::string& id, const std::string& sender) {
  return tx.execute(
      "INSERT INTO local_transaction (message_id, sender, state, settled_at) VALUES (?, ?, 'rolled_back', "
      "UTC_TIMESTAMP(6)) ON DUPLICATE KEY UPDATE message_id = message_id",
      id, sender);
}

[[noreturn]] void refuse(mysql::Transaction& tx, const std::string& id) {
  const auto row = tx.query_row("SELECT state FROM local_transaction WHERE message_id = ?", id);
  const std::string state = row ? row->get<std::string>(0) : "rolled_back";
  const std::string message = "message " + printable(id, 100);
  if (parse_state(state) == RowState::rolled_back) {
    throw Error(ErrorKind::transient, message +
                                          " was given up by the check-back before its transaction began; send it anew, "
                                          "under a new message id, and raise first_check if this happens often");
  }
  throw PermanentError(message + " was sent before: its row in local_transaction is " + state +
                       "; a message id stands for one message");
}

}  // namespace

Time DatabaseClock::now() {
  const SteadyTime steady = std::chrono::steady_clock::now();
  if (!is_asked_ || steady - asked_at_ > kAskAgain) {
    asked_ =
        pool_.transact([](mysql::Transaction& tx) { return tx.query("SELECT UTC_TIMESTAMP(6)").at(0).get<Time>(0); });
    asked_at_ = std::chrono::steady_clock::now();
    is_asked_ = true;
  }
  return estimate();
}

Time DatabaseClock::estimate() const noexcept {
  if (!is_asked_) return {};
  return asked_ + std::chrono::duration_cast<Time::duration>(std::chrono::steady_clock::now() - asked_at_);
}

// A state that is NULL is refused by the server: so the row comes into being in time, by its clock, or not at all.
void TransactionRows::begin(mysql::Transaction& tx, const std::string& id, Time begin_before) const {
  try {
    tx.execute(
        "INSERT INTO local_transaction (message_id, sender, state, settled_at) VALUES (?, ?, "
        "IF(UTC_TIMESTAMP(6) < CAST(? AS DATETIME(6)), 'committed', NULL), UTC_TIMESTAMP(6))",
        id, sender_, begin_before);
  } catch (const mysql::MysqlError& error) {
    if (error.code() == kNull) {
      throw Error(ErrorKind::transient, "the transaction of message " + printable(id, 100) +
                                            " begins later than start_within after its half message; send it anew");
    }
    if (error.code() == kDuplicate) refuse(tx, id);
    throw;
  }
}

std::unordered_map<std::string, RowState> TransactionRows::states(const std::vector<std::string>& ids) const {
  std::unordered_map<std::string, RowState> found;
  if (ids.empty()) return found;
  std::vector<mysql::Param> params;
  const std::string sql =
      "SELECT message_id, state FROM local_transaction WHERE message_id IN " + outbox::id_list(ids, params);
  for (const mysql::Row& row : pool_.transact([&](mysql::Transaction& tx) { return tx.query_with(sql, params); })) {
    found[row.get<std::string>(0)] = parse_state(row.get<std::string>(1));
  }
  return found;
}

// The locking read meets the row of a transaction that runs, although nobody else can see it yet. Between it and the
// INSERT one may begin: the INSERT then waits for it, and finds the row or does not.
Finding TransactionRows::find_out(const std::string& id) const {
  struct Running {};
  try {
    return pool_.transact([&](mysql::Transaction& tx) {
      try {
        const auto row = tx.query_row("SELECT state FROM local_transaction WHERE message_id = ? FOR UPDATE NOWAIT", id);
        if (row) return finding_of(parse_state(row->get<std::string>(0)));
        if (insert_rolled_back(tx, id, sender_) == 0) throw Running();  // it has just ended: the next check sees how
        ONCEMARK_FAIL_POINT("checkback.before_rollback");
        return Finding::rolled_back;
      } catch (const mysql::MysqlError& error) {
        if (error.code() == kLocked || error.code() == kLockedMariaDb) throw Running();
        throw;
      }
    });
  } catch (const Running&) {
    return Finding::running;
  }
}

void TransactionRows::roll_back(const std::string& id) const {
  pool_.transact([&](mysql::Transaction& tx) { (void)insert_rolled_back(tx, id, sender_); });
}

void TransactionRows::mark_sent(const std::vector<std::string>& ids) const {
  if (ids.empty()) return;
  std::vector<std::string> sorted = ids;  // lock order
  std::sort(sorted.begin(), sorted.end());
  // A power of two of rows, so that there are few texts to prepare; the last one is repeated.
  const std::size_t count = std::bit_ceil(sorted.size());
  std::string sql = "INSERT INTO local_transaction (message_id, sender, state, settled_at) VALUES ";
  std::vector<mysql::Param> params;
  for (std::size_t i = 0; i < count; ++i) {
    sql += i == 0 ? "(?, ?, 'sent', UTC_TIMESTAMP(6))" : ", (?, ?, 'sent', UTC_TIMESTAMP(6))";
    params.emplace_back(sorted[std::min(i, sorted.size() - 1)]);
    params.emplace_back(sender_);
  }
  sql += " ON DUPLICATE KEY UPDATE state = 'sent', settled_at = UTC_TIMESTAMP(6)";
  pool_.transact([&](mysql::Transaction& tx) { tx.execute_with(sql, params); });
}

void TransactionRows::park(const Half& half) const {
  const HalfMessage& message = half.message;
  pool_.transact([&](mysql::Transaction& tx) {
    tx.execute(
        "INSERT INTO parked_half (message_id, sender, state, topic, message_key, payload, headers, event_time, since, "
        "checks, reason, parked_at) VALUES (?, ?, 'parked', ?, ?, ?, ?, ?, ?, ?, ?, UTC_TIMESTAMP(6)) "
        "ON DUPLICATE KEY UPDATE message_id = message_id",
        message.id, sender_, message.topic, message.key, message.payload, encode_headers(message.headers),
        message.event_time, message.since, message.checks, truncate_utf8(half.reason, kReasonBytes));
    ONCEMARK_FAIL_POINT("checkback.before_park");
  });
}

std::vector<Half> TransactionRows::to_send(std::size_t limit) const {
  std::vector<Half> found;
  const auto rows = pool_.transact([&](mysql::Transaction& tx) {
    return tx.query(
        "SELECT message_id, topic, message_key, payload, headers, event_time, since, checks, reason FROM parked_half "
        "WHERE sender = ? AND state = 'committed' ORDER BY parked_at LIMIT ?",
        sender_, limit);
  });
  for (const mysql::Row& row : rows) {
    Half half;
    half.message = {.id = row.get<std::string>(0),
                    .topic = row.get<std::string>(1),
                    .key = row.get<Bytes>(2),
                    .payload = row.get<Bytes>(3),
                    .headers = decode_headers(row.get<std::string>(4)),
                    .event_time = row.get<Time>(5),
                    .since = row.get<Time>(6),
                    .checks = row.get<std::uint32_t>(7)};
    half.reason = row.get<std::string>(8);
    found.push_back(std::move(half));
  }
  return found;
}

void TransactionRows::unpark(const std::string& id) const {
  mark_sent({id});
  pool_.transact([&](mysql::Transaction& tx) { tx.execute("DELETE FROM parked_half WHERE message_id = ?", id); });
}

void TransactionRows::park_again(const std::string& id, const std::string& reason) const {
  pool_.transact([&](mysql::Transaction& tx) {
    tx.execute("UPDATE parked_half SET state = 'parked', reason = ? WHERE message_id = ? AND state = 'committed'",
               truncate_utf8(reason, kReasonBytes), id);
  });
}

std::uint64_t TransactionRows::purge(std::chrono::hours older_than, std::size_t limit) const {
  std::uint64_t purged = 0;
  for (const char* state : {"sent", "rolled_back", "discarded"}) {
    purged += pool_.transact([&](mysql::Transaction& tx) {
      return tx.execute(
          "DELETE FROM local_transaction WHERE sender = ? AND state = ? AND settled_at < UTC_TIMESTAMP(6) - INTERVAL ? "
          "HOUR ORDER BY settled_at LIMIT ?",
          sender_, state, static_cast<std::int64_t>(older_than.count()), limit);
    });
  }
  return purged;
}

}  // namespace oncemark::transactional
