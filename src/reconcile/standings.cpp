#include "reconcile/standings.hpp"

#include <algorithm>
#include <array>
#include <optional>

#include <oncemark/dead_letter/envelope.hpp>
#include <oncemark/message/message.hpp>

namespace oncemark::reconcile {
namespace {

constexpr std::size_t kPage = 1'000;

bool is_chosen(const std::vector<std::string>& chosen, const std::string& name) {
  return chosen.empty() || std::ranges::find(chosen, name) != chosen.end();
}

/// Names in an index, from one to the next.
std::vector<std::string> names(mysql::Pool& pool, const std::string& column, const std::string& table) {
  return pool.transact([&](mysql::Transaction& tx) {
    std::vector<std::string> found;
    for (std::string last;; last = found.back()) {
      const auto next = tx.query_row("SELECT MIN(" + column + ") FROM " + table + " WHERE " + column + " > ?", last)
                            ->get<std::optional<std::string>>(0);
      if (!next) return found;
      found.push_back(*next);
    }
  });
}

/// Pages of rows by rising id: `read(tx, last)` returns those behind `last`, whose first column is the id.
template <typename Read, typename Visit>
void by_id(mysql::Pool& pool, const Sieve& sieve, Read&& read, Visit&& visit) {
  std::uint64_t last = 0;
  mysql::Rows rows;
  do {
    if (sieve.is_full()) return;
    rows = pool.transact([&](mysql::Transaction& tx) { return read(tx, last); });
    for (const mysql::Row& row : rows) visit(row);
    if (!rows.empty()) last = rows.back().get<std::uint64_t>(0);
  } while (rows.size() == kPage);
}

/// The outbox row that carries this attempt: whether it has been sent for so long that somebody should have handled it.
bool is_sent_long_ago(mysql::Transaction& tx, const ReconcileOptions& options, const std::string& consumer,
                      const mysql::Row& row) {
  Message named;
  named.business_key = row.get<std::string>(1);
  named.id = row.get<std::string>(2);
  const std::string purpose =
      dead_letter::retry_purpose(consumer, named, row.get<std::uint32_t>(5), row.get<std::uint32_t>(6));
  const auto sent = tx.query_row(
      "SELECT status = 'sent' AND COALESCE(sent_at < UTC_TIMESTAMP(6) - INTERVAL ? SECOND, FALSE) FROM outbox_message "
      "WHERE message_id = ? AND purpose = ?",
      options.sla.count(), named.id, purpose);
  return !sent || sent->get<bool>(0);  // gone: it was sent, and purged
}

}  // namespace

std::vector<std::string> known_consumers(mysql::Pool& pool) { return names(pool, "consumer", "consumed_message"); }

void find_unsent(mysql::Pool& pool, const ReconcileOptions& options, Sieve& sieve) {
  if (!sieve.wants(Kind::unsent)) return;
  struct Looked {
    const char* index;
    const char* condition;  // its placeholder: the SLA in seconds
  };
  // By the indexes that the relay uses: each look passes over no row that was sent.
  constexpr std::array<Looked, 3> kLooks{
      {{"to_send", "status = 'dead' AND ? >= 0"},
       {"to_send", "status = 'pending' AND available_at < UTC_TIMESTAMP(6) - INTERVAL ? SECOND"},
       {"due", "status IN ('waiting', 'failing') AND due_at < UTC_TIMESTAMP(6) - INTERVAL ? SECOND"}}};
  for (const std::string& relay : names(pool, "relay", "outbox_message")) {
    for (const Looked& looked : kLooks) {
      by_id(
          pool, sieve,
          [&](mysql::Transaction& tx, std::uint64_t last) {
            return tx.query(
                "SELECT id, topic, COALESCE(business_key, message_id), message_id, event_time, "
                "available_at, status FROM outbox_message FORCE INDEX (" +
                    std::string(looked.index) + ") WHERE relay = ? AND " + looked.condition +
                    " AND id > ? ORDER BY id LIMIT ?",
                relay, options.sla.count(), last, kPage);
          },
          [&](const mysql::Row& row) {
            if (!is_chosen(options.topics, row.get<std::string>(1))) return;
            sieve.add({.kind = Kind::unsent,
                       .scope = relay,
                       .topic = row.get<std::string>(1),
                       .business_key = row.get<std::string>(2),
                       .message_id = row.get<std::string>(3),
                       .event_time = row.get<Time>(4),
                       .since = row.get<Time>(5),
                       .standing = row.get<std::string>(6),
                       .row = row.get<std::uint64_t>(0)});
          });
    }
  }
}

void find_overdue_retries(mysql::Pool& pool, const ReconcileOptions& options, const std::string& consumer,
                          Sieve& sieve) {
  Time due{};
  std::string key;
  mysql::Rows rows;
  do {
    if (sieve.is_full()) return;
    pool.transact([&](mysql::Transaction& tx) {
      rows = tx.query(
          "SELECT f.due_at, f.message_key, f.message_id, f.origin_topic, f.event_time, c.life, c.attempt FROM "
          "failed_message f FORCE INDEX (due) JOIN consumed_message c ON c.consumer = f.consumer AND c.message_key = "
          "f.message_key WHERE f.consumer = ? AND c.state = 'retrying' AND f.due_at < UTC_TIMESTAMP(6) - INTERVAL ? "
          "SECOND AND f.due_at >= ? AND (f.due_at > ? OR f.message_key > ?) ORDER BY f.due_at, f.message_key LIMIT ?",
          consumer, options.sla.count(), due, due, key, kPage);
    });
    for (const mysql::Row& row : rows) {
      if (!is_chosen(options.topics, row.get<std::string>(3))) continue;
      if (!pool.transact([&](mysql::Transaction& tx) { return is_sent_long_ago(tx, options, consumer, row); }))
        continue;
      const bool is_replayed = row.get<std::uint32_t>(5) > 1;
      sieve.add({.kind = is_replayed ? Kind::replayed : Kind::unsettled,
                 .scope = consumer,
                 .topic = row.get<std::string>(3),
                 .business_key = row.get<std::string>(1),
                 .message_id = row.get<std::string>(2),
                 .event_time = row.get<Time>(4),
                 .since = row.get<Time>(0),
                 .standing = "retrying"});
    }
    if (!rows.empty()) {
      due = rows.back().get<Time>(0);
      key = rows.back().get<std::string>(1);
    }
  } while (rows.size() == kPage);
}

void find_stuck_sequences(mysql::Pool& pool, const ReconcileOptions& options, const std::string& consumer,
                          Sieve& sieve) {
  std::string order_key;
  std::uint64_t seq = 0;
  mysql::Rows rows;
  do {
    if (sieve.is_full()) return;
    rows = pool.transact([&](mysql::Transaction& tx) {
      return tx.query(
          "SELECT p.order_key, p.seq, p.message_key, p.message_id, p.origin_topic, p.event_time, "
          "COALESCE(k.due_at, p.parked_at), c.life, k.due_at IS NULL FROM parked_message p JOIN parked_key k ON "
          "k.consumer = p.consumer AND k.order_key = p.order_key JOIN consumed_message c ON c.consumer = p.consumer "
          "AND "
          "c.message_key = p.message_key WHERE p.consumer = ? AND (p.order_key > ? OR (p.order_key = ? AND p.seq > ?)) "
          "AND c.state = 'parked' AND p.parked_at < UTC_TIMESTAMP(6) - INTERVAL ? SECOND AND (k.due_at IS NULL OR "
          "k.due_at < UTC_TIMESTAMP(6) - INTERVAL ? SECOND) ORDER BY p.order_key, p.seq LIMIT ?",
          consumer, order_key, order_key, seq, options.sla.count(), options.sla.count(), kPage);
    });
    for (const mysql::Row& row : rows) {
      order_key = row.get<std::string>(0);
      seq = row.get<std::uint64_t>(1);
      if (!is_chosen(options.topics, row.get<std::string>(4))) continue;
      sieve.add({.kind = row.get<std::uint32_t>(7) > 1 ? Kind::replayed : Kind::unsettled,
                 .scope = consumer,
                 .topic = row.get<std::string>(4),
                 .business_key = row.get<std::string>(2),
                 .message_id = row.get<std::string>(3),
                 .event_time = row.get<Time>(5),
                 .since = row.get<Time>(6),
                 .standing = row.get<bool>(8) ? "parked behind a dead one" : "parked"});
    }
  } while (rows.size() == kPage);
}

void find_letters(mysql::Pool& pool, const ReconcileOptions& options, const std::string& consumer, Sieve& sieve) {
  if (!sieve.wants(Kind::dead) && !sieve.wants(Kind::replayed) && !sieve.wants(Kind::conflict)) return;
  // A replayed letter is in order while its message's next life runs, which the other lists look at.
  constexpr std::array<const char*, 2> kWhich{
      "d.state = 'dead'",
      "d.state = 'replaying' AND NOT COALESCE(c.state IN ('retrying', 'parked') AND c.life = d.life + 1, FALSE)"};
  for (const char* which : kWhich) {
    by_id(
        pool, sieve,
        [&](mysql::Transaction& tx, std::uint64_t last) {
          return tx.query(
              "SELECT d.id, d.origin_topic, d.identity, d.message_id, d.event_time, d.died_at, d.life, d.state = "
              "'dead', d.error_class = 'key_conflict', CASE WHEN c.state IS NULL THEN 'no row' WHEN c.life <> d.life "
              "AND d.state = 'dead' THEN CONCAT(c.state, ' in life ', c.life) ELSE c.state END FROM dead_letter d LEFT "
              "JOIN consumed_message c ON c.consumer = d.consumer AND c.message_key = d.identity WHERE d.consumer = ? "
              "AND " +
                  std::string(which) + " AND d.id > ? ORDER BY d.id LIMIT ?",
              consumer, last, kPage);
        },
        [&](const mysql::Row& row) {
          if (!is_chosen(options.topics, row.get<std::string>(1))) return;
          Kind kind = Kind::replayed;
          if (row.get<bool>(7)) kind = row.get<bool>(8) ? Kind::conflict : Kind::dead;
          sieve.add({.kind = kind,
                     .scope = consumer,
                     .topic = row.get<std::string>(1),
                     .business_key = row.get<std::string>(2),
                     .message_id = row.get<std::string>(3),
                     .event_time = row.get<Time>(4),
                     .since = row.get<Time>(5),
                     .standing = row.get<std::string>(9),
                     .letter = row.get<std::uint64_t>(0),
                     .life = row.get<std::uint32_t>(6)});
        });
  }
}

}  // namespace oncemark::reconcile
