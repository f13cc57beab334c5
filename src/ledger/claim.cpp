#include <oncemark/ledger/claim.hpp>

#include <algorithm>
#include <bit>
#include <map>
#include <numeric>

#include <oncemark/core/error.hpp>
#include <oncemark/core/id.hpp>
#include <oncemark/ledger/transitions.hpp>
#include <oncemark/message/codec.hpp>

#include "ledger/rows.hpp"

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
  if (found->state != State::retrying || found->life != message.life || found->attempt + 1 != message.attempt) {
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
  drop_failed_message(tx, consumer, message.business_key);
  settle_previous_letter(tx, consumer, message.business_key, message.life);
  return fresh;
}

/// How many rows a statement for `count` of them has: every number would be a statement of its own to prepare, so only
/// four in each octave are used, and the last row is repeated. A second copy of a row changes nothing.
std::size_t statement_rows(std::size_t count) noexcept {
  if (count <= 4) return count;
  const std::size_t step = std::bit_floor(count - 1) / 4;
  return (count + step - 1) / step * step;
}

}  // namespace

Claim claim(mysql::Transaction& tx, std::string_view consumer, const Message& message) {
  return message.from_retry_topic ? claim_retry(tx, consumer, message) : claim_by_insert(tx, consumer, message);
}

std::vector<Claim> claim_group(mysql::Transaction& tx, std::string_view consumer,
                               std::span<const Message* const> messages) {
  if (messages.size() == 1) return {claim(tx, consumer, *messages.front())};
  std::vector<Claim> claims(messages.size());
  std::vector<std::size_t> order(messages.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  // Key order is lock order: two groups that share keys then wait for each other instead of deadlocking.
  std::ranges::stable_sort(order, {}, [&](std::size_t i) -> const std::string& { return messages[i]->business_key; });

  std::vector<std::size_t> firsts;
  std::vector<std::size_t> first_of(messages.size());
  std::vector<std::uint64_t> hashes(messages.size());
  for (const std::size_t i : order) {
    hashes[i] = content_hash(*messages[i]);
    if (firsts.empty() || messages[firsts.back()]->business_key != messages[i]->business_key) firsts.push_back(i);
    first_of[i] = firsts.back();
  }
  if (firsts.empty()) return claims;

  const std::uint64_t token = random_token();
  std::vector<mysql::Param> params;
  const std::size_t rows = statement_rows(firsts.size());
  params.reserve(rows * 11);
  for (std::size_t n = 0; n < rows; ++n) {
    const std::size_t i = firsts[std::min(n, firsts.size() - 1)];
    bind_row(params, consumer, *messages[i], State::done, 0, token, hashes[i]);
  }
  const std::uint64_t fresh = tx.execute_with(insert_rows_sql(rows), params);

  if (fresh == firsts.size()) {
    for (const std::size_t i : firsts) claims[i] = {.is_fresh = true, .is_new_row = true};
  } else {
    // Affected rows count the fresh ones but do not name them: the token does.
    std::string sql =
        "SELECT message_key, token, state, life, attempt, payload_hash FROM consumed_message "
        "WHERE consumer = ? AND message_key IN (?";
    for (std::size_t n = 1; n < rows; ++n) sql += ", ?";
    sql += ")";
    std::vector<mysql::Param> keys{consumer};
    std::map<std::string_view, std::size_t> by_key;
    for (std::size_t n = 0; n < rows; ++n) {
      const std::size_t i = firsts[std::min(n, firsts.size() - 1)];
      keys.emplace_back(messages[i]->business_key);
      by_key.emplace(messages[i]->business_key, i);
    }
    for (const mysql::Row& row : tx.query_with(sql, keys)) {
      const std::size_t i = by_key.at(row.get<std::string>(0));
      if (row.get<std::uint64_t>(1) == token) {
        claims[i] = {.is_fresh = true, .is_new_row = true};
      } else {
        claims[i] = copy_of(read_standing(row, 2), hashes[i]);
      }
    }
  }
  for (std::size_t i = 0; i < messages.size(); ++i) {
    if (first_of[i] == i) continue;
    // Compared with whoever made the row: the first of the group, or the one that this first one is a copy of.
    const Claim& first = claims[first_of[i]];
    const Standing made_by_first{.state = State::done, .payload_hash = hashes[first_of[i]]};
    claims[i] = copy_of(first.is_fresh ? made_by_first : first.standing, hashes[i]);
  }
  return claims;
}

void give_back(mysql::Transaction& tx, std::string_view consumer, std::string_view message_key) {
  tx.execute("DELETE FROM consumed_message WHERE consumer = ? AND message_key = ?", consumer, message_key);
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
