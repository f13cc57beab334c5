#include <oncemark/ledger/parked.hpp>

#include <algorithm>
#include <bit>
#include <cstdio>
#include <map>
#include <utility>

#include <oncemark/core/id.hpp>
#include <oncemark/ledger/transitions.hpp>
#include <oncemark/message/codec.hpp>

#include "ledger/rows.hpp"

namespace oncemark::ledger {
namespace {

constexpr std::size_t kMaxOrderKey = 512;  // bytes of the column
constexpr std::size_t kKeptOfLongKey = 480;

/// "(?, ?, …)" over a power of two of placeholders, so that there are few texts to prepare; the last one is repeated.
template <typename Values, typename ToParam>
std::string bind_list(std::vector<mysql::Param>& params, const Values& values, ToParam to_param) {
  std::string text = "(";
  for (std::size_t i = 0; i < std::bit_ceil(values.size()); ++i) {
    text += i == 0 ? "?" : ", ?";
    params.emplace_back(to_param(values[std::min(i, values.size() - 1)]));
  }
  return text + ")";
}

std::int64_t microseconds(std::chrono::milliseconds time) { return std::chrono::microseconds(time).count(); }

/// A row of parked_message, sent with the next statement or before it. Without a failure it has not been tried yet.
void insert_parked(mysql::Transaction& tx, std::string_view consumer, std::string_view group,
                   std::string_view order_key, std::uint64_t seq, Time now, const Message& message,
                   const ParkedFailure* failure) {
  static const auto kInsert = mysql::DeferredStatement::insert(
      "INSERT INTO parked_message (consumer, order_key, seq, message_key, message_id, origin_group, origin_topic, "
      "origin_partition, origin_offset, origin_timestamp, record_key, payload, headers, event_time, parked_at, "
      "first_error_class, first_error, last_error_class, last_error, first_failed_at)");
  std::optional<std::string_view> error_class;
  std::optional<std::string_view> error;
  std::optional<Time> failed_at;
  if (failure != nullptr) {
    error_class = failure->error.error_class;
    error = failure->error.text;
    failed_at = failure->now;
  }
  tx.defer(kInsert, consumer, order_key, seq, message.business_key, message.id, group, message.origin.topic,
           message.origin.partition, message.origin.offset, message.origin_timestamp, message.key, message.payload,
           encode_headers(message.headers), message.event_time, now, error_class, error, error_class, error, failed_at);
}

/// The sequence, whose row is locked, has grown; sent with the next statement or before it.
void lengthen(mysql::Transaction& tx, std::string_view consumer, std::string_view order_key, std::string_view head_key,
              std::size_t messages) {
  // The row is there: this is an UPDATE that can be sent for many keys at once.
  static const auto kLengthen =
      mysql::DeferredStatement::insert("INSERT INTO parked_key (consumer, order_key, head_key, depth, next_seq)",
                                       "ON DUPLICATE KEY UPDATE depth = parked_key.depth + VALUES(depth), "
                                       "next_seq = parked_key.next_seq + VALUES(next_seq)");
  tx.defer(kLengthen, consumer, order_key, head_key, messages, messages);
}

/// The end of a sequence as it stands; the row is locked. Nothing: there is no sequence, and nothing is locked.
struct Tail {
  std::uint32_t depth = 0;
  std::uint64_t next_seq = 0;
  Time now{};  // by the database's clock
};
std::optional<Tail> lock_tail(mysql::Transaction& tx, std::string_view consumer, std::string_view order_key) {
  const auto row = tx.query_row(
      "SELECT depth, next_seq, UTC_TIMESTAMP(6) FROM parked_key WHERE consumer = ? AND order_key = ? FOR UPDATE",
      consumer, order_key);
  if (!row) return std::nullopt;
  return Tail{.depth = row->get<std::uint32_t>(0), .next_seq = row->get<std::uint64_t>(1), .now = row->get<Time>(2)};
}

/// Some at the front were removed: the next one is the head, or the sequence is over. The caller holds parked_key.
std::optional<std::string> advance(mysql::Transaction& tx, std::string_view consumer, std::string_view order_key,
                                   std::size_t removed, std::optional<std::uint64_t> token,
                                   std::chrono::milliseconds lease) {
  const auto next =
      tx.query_row("SELECT message_key FROM parked_message WHERE consumer = ? AND order_key = ? ORDER BY seq LIMIT 1",
                   consumer, order_key);
  if (!next) {
    tx.execute("DELETE FROM parked_key WHERE consumer = ? AND order_key = ?", consumer, order_key);
    return std::nullopt;
  }
  tx.execute(
      "UPDATE parked_key SET head_key = ?, depth = depth - ?, due_at = UTC_TIMESTAMP(6) + INTERVAL ? MICROSECOND, "
      "token = ?, tries = 0 WHERE consumer = ? AND order_key = ?",
      next->get<std::string>(0), removed, microseconds(lease), token, consumer, order_key);
  return next->get<std::string>(0);
}

void write_failure(mysql::Transaction& tx, std::string_view consumer, const Message& message,
                   const ParkedFailure& failure) {
  tx.execute(
      "UPDATE parked_message SET first_error_class = COALESCE(first_error_class, ?), "
      "first_error = COALESCE(first_error, ?), last_error_class = ?, last_error = ?, "
      "first_failed_at = COALESCE(first_failed_at, ?) WHERE consumer = ? AND message_key = ?",
      failure.error.error_class, failure.error.text, failure.error.error_class, failure.error.text, failure.now,
      consumer, message.business_key);
}

Message read_message(const mysql::Row& row) {
  Message message;
  message.business_key = row.get<std::string>("message_key");
  message.id = row.get<std::string>("message_id");
  message.topic = row.get<std::string>("origin_topic");
  message.origin = {.topic = message.topic,
                    .partition = row.get<std::int32_t>("origin_partition"),
                    .offset = row.get<std::int64_t>("origin_offset")};
  message.origin_timestamp = row.get<Time>("origin_timestamp");
  message.read_at = message.origin;
  message.key = row.get<Bytes>("record_key");
  message.payload = row.get<Bytes>("payload");
  message.headers = decode_headers(row.get<std::string>("headers"));
  message.event_time = row.get<Time>("event_time");
  message.has_id = message.id != coordinates_identity(message.origin, message.origin_timestamp);
  return message;
}

}  // namespace

std::optional<std::string> order_key_of(const Message& message) {
  if (message.key.is_null()) return std::nullopt;
  if (message.key.size() <= kMaxOrderKey) return message.key.str();
  char hash[17];
  std::snprintf(hash, sizeof hash, "%016llx", static_cast<unsigned long long>(payload_hash(message.key)));
  return std::string(message.key.view().substr(0, kKeptOfLongKey)) + "#" + hash;
}

std::vector<std::string> find_parked_keys(mysql::Transaction& tx, std::string_view consumer,
                                          std::span<const std::string> order_keys) {
  std::vector<std::string> found;
  if (order_keys.empty()) return found;
  std::vector<mysql::Param> params{consumer};
  const std::string list = bind_list(params, order_keys, [](const std::string& key) { return std::string_view(key); });
  for (const mysql::Row& row :
       tx.query_with("SELECT order_key FROM parked_key WHERE consumer = ? AND order_key IN " + list, params)) {
    found.push_back(row.get<std::string>(0));
  }
  return found;
}

std::vector<Claim> claim_as_parked(mysql::Transaction& tx, std::string_view consumer,
                                   std::span<const Message* const> messages) {
  std::vector<Claim> claims(messages.size());
  std::map<std::string_view, std::size_t> firsts;  // in key order, which is lock order
  std::vector<std::uint64_t> hashes;
  for (std::size_t i = 0; i < messages.size(); ++i) {
    firsts.try_emplace(messages[i]->business_key, i);
    hashes.push_back(content_hash(*messages[i]));
  }
  if (firsts.empty()) return claims;
  const std::vector<std::pair<std::string_view, std::size_t>> keys(firsts.begin(), firsts.end());

  // Who has a row: a message that a handler has in hand elsewhere has none that can be seen, and is waited for below;
  // a parked one whose head is being run has one, and is not.
  std::map<std::string, Standing> found;
  std::vector<mysql::Param> params;
  const std::uint64_t token = random_token();
  const auto look = [&](const char* condition) {
    params.assign({mysql::Param(consumer)});
    const std::string list = bind_list(params, keys, [](const auto& entry) { return entry.first; });
    std::string sql =
        "SELECT message_key, state, life, attempt, payload_hash FROM consumed_message WHERE consumer = ? "
        "AND message_key IN " +
        list;
    if (*condition != '\0') {
      sql += condition;
      params.emplace_back(token);
    }
    for (const mysql::Row& row : tx.query_with(sql, params)) {
      found.insert_or_assign(row.get<std::string>(0), read_standing(row, 1));
    }
  };
  look("");
  params.clear();
  std::size_t sent = 0;
  for (const auto& [key, i] : keys) {
    if (found.contains(std::string(key))) continue;
    bind_row(params, consumer, *messages[i], State::parked, 0, token, hashes[i]);
    ++sent;
  }
  // Not padded to a few sizes: sequences grow by one or two messages at a time.
  if (sent > 0 && tx.execute_with(insert_rows_sql(sent), params) < sent) look(" AND token <> ?");

  for (std::size_t i = 0; i < messages.size(); ++i) {
    const std::size_t first = firsts.at(messages[i]->business_key);
    const auto copy = found.find(messages[i]->business_key);
    Claim& claim = claims[i];
    if (copy == found.end() && first == i) {
      claim.is_fresh = claim.is_new_row = true;
      continue;
    }
    claim.standing =
        copy != found.end() ? copy->second : Standing{.state = State::parked, .payload_hash = hashes[first]};
    claim.is_key_conflict = claim.standing.state != State::discarded && claim.standing.payload_hash != hashes[i];
  }
  return claims;
}

Appended append_parked(mysql::Transaction& tx, std::string_view consumer, std::string_view group,
                       std::string_view order_key, std::span<const Message* const> messages, std::uint32_t limit) {
  const auto tail = lock_tail(tx, consumer, order_key);
  if (!tail) return {.is_gone = true};
  const std::size_t room = tail->depth >= limit ? 0 : limit - tail->depth;
  const std::size_t taken = std::min(room, messages.size());
  if (taken == 0) return {};
  for (std::size_t i = 0; i < taken; ++i) {
    insert_parked(tx, consumer, group, order_key, tail->next_seq + i, tail->now, *messages[i], nullptr);
  }
  lengthen(tx, consumer, order_key, messages.front()->business_key, taken);
  return {.messages = taken};
}

bool begin_sequence(mysql::Transaction& tx, std::string_view consumer, std::string_view order_key,
                    const Message& message, const ParkedFailure& failure, std::optional<Time> due) {
  const bool is_head =
      tx.execute(
          "INSERT INTO parked_key (consumer, order_key, head_key, depth, next_seq, due_at, token, tries) "
          "VALUES (?, ?, ?, 1, 2, ?, NULL, 0) ON DUPLICATE KEY UPDATE next_seq = next_seq",
          consumer, order_key, message.business_key, due) > 0;
  std::uint64_t seq = 1;
  if (!is_head) {
    seq = lock_tail(tx, consumer, order_key).value().next_seq;  // the INSERT has met the row and locked it
    lengthen(tx, consumer, order_key, message.business_key, 1);
  }
  insert_parked(tx, consumer, failure.group, order_key, seq, failure.now, message, &failure);
  return is_head;
}

std::vector<DueHead> next_due_heads(mysql::Transaction& tx, std::string_view consumer, std::size_t most) {
  std::vector<DueHead> heads;
  for (const mysql::Row& row : tx.query("SELECT order_key, head_key, TIMESTAMPDIFF(MICROSECOND, UTC_TIMESTAMP(6), "
                                        "due_at), tries, depth FROM parked_key WHERE consumer = ? AND due_at IS NOT NULL "
                                        "ORDER BY due_at LIMIT ?",
                                        consumer, most)) {
    heads.push_back({.order_key = row.get<std::string>(0),
                     .head_key = row.get<std::string>(1),
                     .wait = std::chrono::microseconds(row.get<std::int64_t>(2)),
                     .tries = row.get<std::uint32_t>(3),
                     .depth = row.get<std::uint32_t>(4)});
  }
  return heads;
}

std::vector<bool> take_heads(mysql::Transaction& tx, std::string_view consumer, std::span<const DueHead> heads,
                             std::uint64_t token, std::chrono::milliseconds lease) {
  std::vector<bool> taken(heads.size());
  std::vector<std::size_t> locked;
  for (std::size_t i = 0; i < heads.size(); ++i) {
    const auto state =
        tx.query_row("SELECT state FROM consumed_message WHERE consumer = ? AND message_key = ? FOR UPDATE SKIP LOCKED",
                     consumer, heads[i].head_key);
    if (state && parse_state(state->get<std::string>(0)) == State::parked) locked.push_back(i);
  }
  std::ranges::sort(locked, {}, [&](std::size_t i) -> const std::string& { return heads[i].order_key; });
  for (const std::size_t i : locked) {
    taken[i] = tx.execute(
                   "UPDATE parked_key SET due_at = UTC_TIMESTAMP(6) + INTERVAL ? MICROSECOND, token = ?, "
                   "tries = tries + 1 WHERE consumer = ? AND order_key = ? AND head_key = ? "
                   "AND due_at <= UTC_TIMESTAMP(6) AND tries = ?",
                   microseconds(lease), token, consumer, heads[i].order_key, heads[i].head_key, heads[i].tries) == 1;
  }
  return taken;
}

std::vector<ParkedMessage> lock_parked(mysql::Transaction& tx, std::string_view consumer, std::string_view order_key,
                                       std::string_view head_key, std::uint64_t token, std::size_t most) {
  std::vector<ParkedMessage> messages;
  // One by one: for a list of keys MariaDB may scan, and lock, the rows of others.
  std::map<std::string_view, Standing> locked;
  const auto lock = [&](std::string_view key) {
    const auto row = tx.query_row(
        "SELECT state, life, attempt, payload_hash FROM consumed_message WHERE consumer = ? AND message_key = ? "
        "FOR UPDATE SKIP LOCKED",
        consumer, key);
    if (row) locked.emplace(key, read_standing(*row, 0));
  };
  lock(head_key);
  if (locked.empty() || locked.begin()->second.state != State::parked) return messages;
  // Under the head's state row it stays the head, and taken by whom it is.
  for (const mysql::Row& row :
       tx.query("SELECT m.seq, m.message_key, m.message_id, m.origin_topic, m.origin_partition, m.origin_offset, "
                "m.origin_timestamp, m.record_key, m.payload, m.headers, m.event_time FROM parked_key k "
                "JOIN parked_message m ON m.consumer = k.consumer AND m.order_key = k.order_key "
                "WHERE k.consumer = ? AND k.order_key = ? AND k.head_key = ? AND k.token = ? ORDER BY m.seq LIMIT ?",
                consumer, order_key, head_key, token, most)) {
    messages.push_back({.seq = row.get<std::uint64_t>(0), .message = read_message(row)});
  }
  for (const ParkedMessage& parked : messages) {
    if (parked.message.business_key != head_key) lock(parked.message.business_key);  // waits for nobody: in any order
  }
  std::size_t ours = 0;
  for (; ours < messages.size(); ++ours) {
    Message& message = messages[ours].message;
    const auto standing = locked.find(message.business_key);
    if (standing == locked.end() || standing->second.state != State::parked) break;
    message.life = standing->second.life;
    message.attempt = standing->second.attempt + 1;
  }
  messages.resize(ours);
  return messages;
}

std::optional<std::string> finish_parked(mysql::Transaction& tx, std::string_view consumer, std::string_view order_key,
                                         std::span<const ParkedMessage> messages, std::uint64_t token,
                                         std::chrono::milliseconds lease) {
  const std::uint64_t mark = random_token();
  for (const ParkedMessage& parked : messages) {
    tx.execute(
        "UPDATE consumed_message SET state = 'done', token = ?, consumed_at = UTC_TIMESTAMP(6) "
        "WHERE consumer = ? AND message_key = ?",
        mark, consumer, parked.message.business_key);
    settle_previous_letter(tx, consumer, parked.message.business_key, parked.message.life);
  }
  (void)lock_tail(tx, consumer, order_key);
  tx.execute("DELETE FROM parked_message WHERE consumer = ? AND order_key = ? AND seq <= ?", consumer, order_key,
             messages.back().seq);
  return advance(tx, consumer, order_key, messages.size(), token, lease);
}

std::optional<Standing> fail_head(mysql::Transaction& tx, std::string_view consumer, const Message& message,
                                  State next) {
  const auto found = lock_standing(tx, consumer, message.business_key);
  if (!found) return std::nullopt;
  return fail_once_more(tx, consumer, message, *found, State::parked, next);
}

void schedule_head(mysql::Transaction& tx, std::string_view consumer, std::string_view order_key,
                   const Message& message, const ParkedFailure& failure, Time due) {
  // The sequence's row before those of its messages, as everywhere.
  tx.execute("UPDATE parked_key SET due_at = ?, token = NULL, tries = 0 WHERE consumer = ? AND order_key = ?", due,
             consumer, order_key);
  write_failure(tx, consumer, message, failure);
}

void stop_key(mysql::Transaction& tx, std::string_view consumer, std::string_view order_key, const Message& message,
              const ParkedFailure& failure) {
  tx.execute("UPDATE parked_key SET due_at = NULL, token = NULL, tries = 0 WHERE consumer = ? AND order_key = ?",
             consumer, order_key);
  write_failure(tx, consumer, message, failure);
}

bool leave_sequence(mysql::Transaction& tx, std::string_view consumer, std::string_view message_key) {
  const auto place = tx.query_row("SELECT order_key, seq FROM parked_message WHERE consumer = ? AND message_key = ?",
                                  consumer, message_key);
  if (!place) return false;
  const auto order_key = place->get<std::string>(0);
  const auto key = tx.query_row("SELECT head_key FROM parked_key WHERE consumer = ? AND order_key = ? FOR UPDATE",
                                consumer, order_key);
  tx.execute("DELETE FROM parked_message WHERE consumer = ? AND order_key = ? AND seq = ?", consumer, order_key,
             place->get<std::uint64_t>(1));
  if (key && key->get<std::string>(0) == message_key) {
    (void)advance(tx, consumer, order_key, 1, std::nullopt, std::chrono::milliseconds(0));
  } else {
    tx.execute("UPDATE parked_key SET depth = depth - 1 WHERE consumer = ? AND order_key = ?", consumer, order_key);
  }
  return true;
}

bool put_back_head(mysql::Transaction& tx, std::string_view consumer, std::string_view order_key,
                   std::string_view head_key, std::uint64_t token, std::chrono::milliseconds delay) {
  const auto state =
      tx.query_row("SELECT state FROM consumed_message WHERE consumer = ? AND message_key = ? FOR UPDATE SKIP LOCKED",
                   consumer, head_key);
  if (!state) return false;
  tx.execute(
      "UPDATE parked_key SET due_at = UTC_TIMESTAMP(6) + INTERVAL ? MICROSECOND, token = NULL, tries = 0 "
      "WHERE consumer = ? AND order_key = ? AND head_key = ? AND token = ?",
      microseconds(delay), consumer, order_key, head_key, token);
  return true;
}

std::optional<std::string> head_taken_with(mysql::Transaction& tx, std::string_view consumer,
                                           std::string_view order_key, std::uint64_t token) {
  const auto row = tx.query_row("SELECT head_key FROM parked_key WHERE consumer = ? AND order_key = ? AND token = ?",
                                consumer, order_key, token);
  if (!row) return std::nullopt;
  return row->get<std::string>(0);
}

bool revive_in_place(mysql::Transaction& tx, std::string_view consumer, std::string_view message_key,
                     std::uint32_t life) {
  const auto found = lock_standing(tx, consumer, message_key);
  if (!found || found->state != State::dead || found->life != life) return false;
  const auto place = tx.query_row("SELECT order_key FROM parked_message WHERE consumer = ? AND message_key = ?",
                                  consumer, message_key);
  if (!place) return false;
  tx.execute(
      "UPDATE consumed_message SET state = 'parked', life = life + 1, attempt = 0, consumed_at = UTC_TIMESTAMP(6) "
      "WHERE consumer = ? AND message_key = ?",
      consumer, message_key);
  tx.execute(
      "UPDATE parked_key SET due_at = UTC_TIMESTAMP(6), token = NULL, tries = 0 "
      "WHERE consumer = ? AND order_key = ? AND head_key = ?",
      consumer, place->get<std::string>(0), message_key);
  return true;
}

bool is_in_sequence(mysql::Transaction& tx, std::string_view consumer, std::string_view message_key) {
  return tx.query_row("SELECT 1 FROM parked_message WHERE consumer = ? AND message_key = ?", consumer, message_key)
      .has_value();
}

std::optional<FirstFailure> parked_first_failure(mysql::Transaction& tx, std::string_view consumer,
                                                 std::string_view message_key) {
  const auto row = tx.query_row(
      "SELECT first_failed_at, first_error_class, first_error FROM parked_message WHERE consumer = ? AND message_key = "
      "?",
      consumer, message_key);
  if (!row || row->is_null(0)) return std::nullopt;
  return FirstFailure{
      .at = row->get<Time>(0), .error_class = row->get<std::string>(1), .text = row->get<std::string>(2)};
}

ParkedCounts count_parked(mysql::Transaction& tx, std::string_view consumer) {
  const auto row = tx.query_row(
      "SELECT COUNT(*), COUNT(*) - COUNT(due_at), COALESCE(SUM(depth), 0) FROM parked_key WHERE consumer = ?",
      consumer);
  return {.keys = row->get<std::uint64_t>(0),
          .stopped = row->get<std::uint64_t>(1),
          .messages = row->get<std::uint64_t>(2)};
}

}  // namespace oncemark::ledger
