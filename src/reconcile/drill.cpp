#include "reconcile/drill.hpp"

#include <algorithm>
#include <map>
#include <optional>

#include <oncemark/ledger/state.hpp>

namespace oncemark::reconcile {
namespace {

constexpr std::uint64_t kRowsTogether = 100'000;  // of either side that lie in memory
constexpr std::size_t kBucketsTogether = 4'096;   // in one statement
constexpr std::size_t kLookedUpTogether = 256;
constexpr std::size_t kMostConflictLetters = 100'000;

bool differ(const SideRow& sent, const SideRow& settled) {
  return sent.payload_hash && settled.payload_hash && *sent.payload_hash != *settled.payload_hash;
}

std::uint64_t count_in(const Digest& digest, const std::string& topic, std::uint32_t bucket) {
  const auto found = digest.topics.find(topic);
  return found == digest.topics.end() ? 0 : found->second.sums[bucket].count;
}

/// Rows by what they were looked up with: `sql` ends in " IN (" and gets its list here.
template <typename Of>
mysql::Rows look_up(mysql::Pool& pool, const std::string& sql, const std::string* first,
                    std::span<const SideRow* const> rows, Of&& of) {
  std::string statement = sql;
  std::vector<mysql::Param> params;
  if (first != nullptr) params.emplace_back(*first);
  for (std::size_t i = 0; i < kLookedUpTogether; ++i) {  // always as many: one statement to prepare
    statement += i == 0 ? "?" : ", ?";
    params.emplace_back(of(*rows[std::min(i, rows.size() - 1)]));
  }
  statement += ")";
  return pool.transact([&](mysql::Transaction& tx) { return tx.query_with(statement, params); });
}

/// Calls `confirm` with as many rows at a time as one look-up takes.
template <typename Confirm>
void in_steps(std::span<const SideRow* const> rows, Confirm&& confirm) {
  while (!rows.empty()) {
    const std::size_t step = std::min(rows.size(), kLookedUpTogether);
    confirm(rows.first(step));
    rows = rows.subspan(step);
  }
}

}  // namespace

Differences differences(std::span<const SideRow> sent, std::span<const SideRow> settled, Contents contents) {
  Differences found;
  std::size_t right = 0;
  for (std::size_t left = 0; left < sent.size();) {
    const std::string& key = sent[left].business_key;
    while (right < settled.size() && settled[right].business_key < key) found.unexpected.push_back(&settled[right++]);
    const bool is_there = right < settled.size() && settled[right].business_key == key;
    if (!is_there) found.missing.push_back(&sent[left]);  // a key that was sent several times is missing once
    const std::size_t first = left;
    for (; left < sent.size() && sent[left].business_key == key; ++left) {
      const SideRow& against = is_there ? settled[right] : sent[first];
      if (contents == Contents::compared && differ(sent[left], against)) found.conflicts.push_back(&sent[left]);
    }
    if (is_there) ++right;
  }
  while (right < settled.size()) found.unexpected.push_back(&settled[right++]);
  return found;
}

std::size_t step_of(const Digest& sent, const Digest& settled, const std::string& topic,
                    std::span<const std::uint32_t> buckets) {
  std::uint64_t left = 0;
  std::uint64_t right = 0;
  std::size_t taken = 0;
  while (taken < buckets.size() && taken < kBucketsTogether && left < kRowsTogether && right < kRowsTogether) {
    left += count_in(sent, topic, buckets[taken]);
    right += count_in(settled, topic, buckets[taken]);
    ++taken;
  }
  return taken;
}

void Drill::look(const Pair& pair, const Digest& sent, const Digest& settled, std::span<const std::uint32_t> buckets) {
  while (!buckets.empty() && !sieve_.is_full()) {
    const std::size_t taken = step_of(sent, settled, pair.topic, buckets);
    look_at(pair, sent, settled, buckets.first(taken));
    buckets = buckets.subspan(taken);
  }
}

void Drill::look_at(const Pair& pair, const Digest& sent, const Digest& settled,
                    std::span<const std::uint32_t> buckets) {
  const std::vector<SideRow> left = read_rows(pool_, Side::sent(), sent, pair.topic, buckets);
  const std::vector<SideRow> right = read_rows(pool_, Side::settled(pair.consumer), settled, pair.topic, buckets);
  const Differences found = differences(left, right, options_.contents);
  confirm_missing(pair, found.missing);
  confirm_unexpected(pair, found.unexpected);
  for (const SideRow* row : found.conflicts) report_conflict(pair, *row);
}

/// A key may have been settled under another minute (it was sent twice), or since the tables were added up.
void Drill::confirm_missing(const Pair& pair, std::span<const SideRow* const> rows) {
  if (rows.empty()) return;
  if (rows.size() > kLookedUpTogether) {
    return in_steps(rows, [&](std::span<const SideRow* const> some) { confirm_missing(pair, some); });
  }
  std::map<std::string, SideRow> settled;
  for (const mysql::Row& row :
       look_up(pool_,
               "SELECT message_key, message_id, payload_hash, state = 'discarded' FROM consumed_message WHERE consumer "
               "= ? AND message_key IN (",
               &pair.consumer, rows, [](const SideRow& one) { return std::string_view(one.business_key); })) {
    SideRow found{.business_key = row.get<std::string>(0), .message_id = row.get<std::string>(1)};
    // What a person discarded before it came has no contents.
    if (!row.get<bool>(3)) found.payload_hash = row.get<std::uint64_t>(2);
    settled.emplace(found.business_key, std::move(found));
  }
  for (const SideRow* row : rows) {
    const auto found = settled.find(row->business_key);
    if (found != settled.end()) {
      if (options_.contents == Contents::compared && differ(*row, found->second)) report_conflict(pair, *row);
      continue;
    }
    report_missing(pair, *row);
  }
}

/// The row that sent it may not be marked as sent, or carry another business key (a letter's own identity); or it is a
/// transactional message, which has no row in the outbox.
void Drill::confirm_unexpected(const Pair& pair, std::span<const SideRow* const> rows) {
  if (rows.empty()) return;
  if (rows.size() > kLookedUpTogether) {
    return in_steps(rows, [&](std::span<const SideRow* const> some) { confirm_unexpected(pair, some); });
  }
  std::set<std::string> sent;
  for (const char* sender : {"SELECT message_id FROM outbox_message WHERE purpose = '' AND message_id IN (",
                             "SELECT message_id FROM local_transaction WHERE message_id IN ("}) {
    for (const mysql::Row& row :
         look_up(pool_, sender, nullptr, rows, [](const SideRow& one) { return std::string_view(one.message_id); })) {
      sent.insert(row.get<std::string>(0));
    }
  }
  for (const SideRow* row : rows) {
    if (sent.contains(row->message_id)) continue;
    sieve_.add({.kind = Kind::unexpected,
                .scope = pair.consumer,
                .topic = pair.topic,
                .business_key = row->business_key,
                .message_id = row->message_id,
                .event_time = row->event_time,
                .since = row->since,
                .standing = "not in the outbox"});
  }
}

void Drill::report_missing(const Pair& pair, const SideRow& row) {
  if (row.since > now_ - options_.sla) return;  // sent a moment ago, or once more
  sieve_.add({.kind = Kind::unsettled,
              .scope = pair.consumer,
              .topic = pair.topic,
              .business_key = row.business_key,
              .message_id = row.message_id,
              .event_time = row.event_time,
              .since = row.since + options_.sla,
              .standing = "no row",
              .row = row.id});
}

void Drill::report_conflict(const Pair& pair, const SideRow& row) {
  if (letters_of_conflicts(pair.consumer).contains(row.message_id)) return;
  if (row.since > now_ - options_.sla) return;
  sieve_.add({.kind = Kind::conflict,
              .scope = pair.consumer,
              .topic = pair.topic,
              .business_key = row.business_key,
              .message_id = row.message_id,
              .event_time = row.event_time,
              .since = row.since,
              .standing = "other contents took effect",
              .row = row.id});
}

const std::set<std::string>& Drill::letters_of_conflicts(const std::string& consumer) {
  if (conflicts_of_ == consumer) return conflict_letters_;
  conflict_letters_.clear();
  for (const mysql::Row& row : pool_.transact([&](mysql::Transaction& tx) {
         return tx.query(
             "SELECT message_id FROM dead_letter WHERE consumer = ? AND error_class = 'key_conflict' LIMIT ?", consumer,
             kMostConflictLetters);
       })) {
    conflict_letters_.insert(row.get<std::string>(0));
  }
  conflicts_of_ = consumer;
  return conflict_letters_;
}

}  // namespace oncemark::reconcile
