#include <oncemark/ledger/claim.hpp>

#include <algorithm>
#include <numeric>
#include <unordered_map>
#include <unordered_set>

#include <oncemark/core/error.hpp>
#include <oncemark/core/id.hpp>
#include <oncemark/ledger/transitions.hpp>
#include <oncemark/message/codec.hpp>

#include "core/mutants.hpp"
#include "ledger/rows.hpp"
#include "mysql/in_list.hpp"

namespace oncemark::ledger {
namespace {

/// What a copy finds: the row as it stands, and whether other contents made it.
Claim copy_of(const Standing& standing, std::uint64_t hash) {
  // A row that a person made beforehand, to skip the message, knows no contents.
  const bool is_known = standing.state != State::discarded;
  return {.is_fresh = false, .standing = standing, .is_key_conflict = is_known && standing.payload_hash != hash};
}

/// Claims by inserting; the row exists afterwards, ours or not.
Claim claim_by_insert(mysql::Transaction& tx, std::string_view consumer, const Message& message) {
  const std::uint64_t hash = content_hash(message);
  std::vector<mysql::Param> params;
  bind_row(params, consumer, message, State::done, 0, random_token(), hash);
  static const std::string kInsert = insert_rows_sql(1);
  if (tx.execute_with(kInsert, params) > 0) return {.is_fresh = true, .is_new_row = true};
  const auto found = lock_standing(tx, consumer, message.business_key);
  if (!found) {
    // The INSERT has just met the row and locked it, so it cannot have gone: the server's affected rows lie.
    throw MisuseError("claim of consumer=" + std::string(consumer) +
                      ": an insert met a row that a locking read does not find; check that no proxy splits reads "
                      "from writes");
  }
  return copy_of(*found, hash);
}

PermanentError nothing_behind(const Message& pointer, std::string_view consumer) {
  return PermanentError("the record at " + pointer.read_at.str() + " points to a failed_message of consumer " +
                        std::string(consumer) + " that is not there (was the database restored?); send the record at " +
                        pointer.origin.str() + " again");
}

/// Claims a record of the group's retry topic: its row must be waiting for exactly this delivery.
Claim claim_retry(mysql::Transaction& tx, std::string_view consumer, const Message& message) {
  const auto found = lock_standing(tx, consumer, message.business_key);
  if (!found && is_pointer(message)) throw nothing_behind(message, consumer);
  if (!found) return claim_by_insert(tx, consumer, message);
  const bool fits =
      found->state == State::retrying && found->life == message.life && found->attempt + 1 == message.attempt;
  if (!fits && !has_mutant("retry_unconditional")) {
    return {.is_fresh = false, .standing = *found};
  }
  Claim fresh{.is_fresh = true};
  if (is_pointer(message)) {
    fresh.whole = whole_of(tx, consumer, message);
    if (!fresh.whole) throw nothing_behind(message, consumer);
  }
  tx.execute(
      "UPDATE consumed_message SET state = 'done', token = ?, consumed_at = UTC_TIMESTAMP(6) "
      "WHERE consumer = ? AND message_key = ?",
      random_token(), consumer, message.business_key);
  tx.execute("DELETE FROM failed_message WHERE consumer = ? AND message_key = ?", consumer, message.business_key);
  settle_previous_letter(tx, consumer, message.business_key, message.life);
  return fresh;
}

/// A group on its way to its claims.
class GroupClaim {
 public:
  GroupClaim(mysql::Transaction& tx, std::string_view consumer, std::span<const Message* const> messages)
      : tx_(tx), consumer_(consumer), messages_(messages), first_of_(messages.size()), hashes_(messages.size()) {
    claims_.resize(messages.size());
    std::vector<std::size_t> order(messages.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    // Key order is lock order: two groups that share keys then wait for each other instead of deadlocking.
    std::ranges::stable_sort(order, {}, [&](std::size_t i) -> const std::string& { return messages[i]->business_key; });
    for (const std::size_t i : order) {
      hashes_[i] = content_hash(*messages[i]);
      if (open_.empty() || key(open_.back()) != key(i)) open_.push_back(i);
      first_of_[i] = open_.back();
    }
  }

  /// Settles those whose row is there: `token` made it, or it is a copy's.
  void look(std::uint64_t token) {
    if (open_.empty()) return;
    const std::size_t rows = mysql::statement_size(open_.size());
    std::string sql =
        "SELECT message_key, token, state, life, attempt, payload_hash FROM consumed_message "
        "WHERE consumer = ? AND message_key IN (?";
    for (std::size_t n = 1; n < rows; ++n) sql += ", ?";
    sql += ")";
    std::vector<mysql::Param> keys{consumer_};
    std::unordered_map<std::string_view, std::size_t> by_key;
    for (std::size_t n = 0; n < rows; ++n) {
      const std::size_t i = open_[std::min(n, open_.size() - 1)];
      keys.emplace_back(key(i));
      by_key.emplace(key(i), i);
    }
    std::unordered_set<std::size_t> settled;
    for (const mysql::Row& row : tx_.query_with(sql, keys)) {
      const std::size_t i = by_key.at(row.get<std::string>(0));
      settled.insert(i);
      if (row.get<std::uint64_t>(1) == token) {
        claims_[i] = {.is_fresh = true, .is_new_row = true};
      } else {
        claims_[i] = copy_of(read_standing(row, 2), hashes_[i]);
      }
    }
    std::erase_if(open_, [&](std::size_t i) { return settled.contains(i); });
  }

  void insert() {
    if (open_.empty()) return;
    const std::uint64_t token = random_token();
    std::vector<mysql::Param> params;
    const std::size_t rows = mysql::statement_size(open_.size());
    params.reserve(rows * 11);
    for (std::size_t n = 0; n < rows; ++n) {
      const std::size_t i = open_[std::min(n, open_.size() - 1)];
      bind_row(params, consumer_, *messages_[i], State::done, 0, token, hashes_[i]);
    }
    if (tx_.execute_with(insert_rows_sql(rows), params) == open_.size()) {
      for (const std::size_t i : open_) claims_[i] = {.is_fresh = true, .is_new_row = true};
      return;
    }
    look(token);  // affected rows count the fresh ones but do not name them: the token does
  }

  /// The claims, with those of copies inside the group.
  [[nodiscard]] std::vector<Claim> take() {
    for (std::size_t i = 0; i < messages_.size(); ++i) {
      if (first_of_[i] == i) continue;
      // Compared with whoever made the row: the first of the group, or the one that this first one is a copy of.
      const Claim& first = claims_[first_of_[i]];
      const Standing made_by_first{.state = State::done, .payload_hash = hashes_[first_of_[i]]};
      claims_[i] = copy_of(first.is_fresh ? made_by_first : first.standing, hashes_[i]);
    }
    return std::move(claims_);
  }

 private:
  [[nodiscard]] const std::string& key(std::size_t i) const { return messages_[i]->business_key; }

  mysql::Transaction& tx_;
  std::string_view consumer_;
  std::span<const Message* const> messages_;
  std::vector<std::size_t> open_;      // the first of each key, in key order, as long as nothing is known of it
  std::vector<std::size_t> first_of_;  // the first message with the same key
  std::vector<std::uint64_t> hashes_;
  std::vector<Claim> claims_;
};

// No transaction has this token: random ones are not 0.
constexpr std::uint64_t kNobody = 0;

}  // namespace

Claim claim(mysql::Transaction& tx, std::string_view consumer, const Message& message) {
  return message.from_retry_topic ? claim_retry(tx, consumer, message) : claim_by_insert(tx, consumer, message);
}

std::vector<Claim> claim_group(mysql::Transaction& tx, std::string_view consumer,
                               std::span<const Message* const> messages, ClaimFirst first) {
  if (messages.size() == 1) return {claim(tx, consumer, *messages.front())};
  GroupClaim group(tx, consumer, messages);
  if (first == ClaimFirst::look) group.look(kNobody);
  group.insert();
  return group.take();
}

void give_back(mysql::Transaction& tx, std::string_view consumer, std::string_view message_key) {
  tx.execute("DELETE FROM consumed_message WHERE consumer = ? AND message_key = ?", consumer, message_key);
}

void give_back(mysql::Transaction& tx, std::string_view consumer, std::span<const std::string_view> message_keys) {
  if (message_keys.empty()) return;
  if (message_keys.size() == 1) return give_back(tx, consumer, message_keys.front());
  // Joined key by key: for a list of keys MariaDB may scan, and lock, the rows of others.
  std::string sql = "DELETE c FROM (SELECT ? AS message_key";
  std::vector<mysql::Param> params;
  for (std::size_t i = 0; i < mysql::statement_size(message_keys.size()); ++i) {
    if (i > 0) sql += " UNION ALL SELECT ?";
    params.emplace_back(message_keys[std::min(i, message_keys.size() - 1)]);
  }
  sql += ") AS back STRAIGHT_JOIN consumed_message AS c ON c.consumer = ? AND c.message_key = back.message_key";
  params.emplace_back(consumer);
  tx.execute_with(sql, params);
}

std::optional<Standing> lock_standing(mysql::Transaction& tx, std::string_view consumer, std::string_view message_key) {
  const auto row = tx.query_row(
      "SELECT state, life, attempt, payload_hash FROM consumed_message "
      "WHERE consumer = ? AND message_key = ? FOR UPDATE",
      consumer, message_key);
  if (!row) return std::nullopt;
  return read_standing(*row, 0);
}

void require_exact_affected_rows(mysql::Pool& pool) {
  auto connection = pool.acquire();
  mysql::UnitOfWork unit(*connection);  // never committed
  Message probe;
  probe.id = probe.business_key = "probe-" + std::to_string(random_token());
  probe.origin.topic = "probe";
  const auto insert = [&] {
    std::vector<mysql::Param> params;
    bind_row(params, "oncemark.probe", probe, State::done, 0, random_token(), 0);
    return unit.tx().execute_with(insert_rows_sql(1), params);
  };
  const std::uint64_t first = insert();
  const std::uint64_t second = insert();
  unit.rollback();
  if (!unit.is_reusable()) connection.drop();
  if (first == 1 && second == 0) return;
  throw MisuseError("affected rows read " + std::to_string(first) + " for a new row and " + std::to_string(second) +
                    " for a duplicate instead of 1 and 0, so duplicates cannot be told from fresh messages; a proxy or "
                    "driver sets CLIENT_FOUND_ROWS: switch it off for this account");
}

}  // namespace oncemark::ledger
