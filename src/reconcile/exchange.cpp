#include <oncemark/reconcile/exchange.hpp>

#include <algorithm>
#include <istream>
#include <map>
#include <ostream>
#include <set>

#include <oncemark/core/error.hpp>
#include <oncemark/ledger/transitions.hpp>
#include <oncemark/outbox/writer.hpp>

#include "reconcile/digest_file.hpp"
#include "reconcile/drill.hpp"
#include "reconcile/grid.hpp"
#include "reconcile/sieve.hpp"

namespace oncemark::reconcile {
namespace {

constexpr std::size_t kKeysTogether = 256;

Time now_of(mysql::Pool& pool) {
  return pool.transact([](mysql::Transaction& tx) { return ledger::database_now(tx); });
}

std::vector<std::string> topics_of(const DigestFile& file) {
  std::vector<std::string> topics;
  for (const auto& [topic, buckets] : file.digest.topics) topics.push_back(topic);
  return topics;
}

const Buckets* find(const Digest& digest, const std::string& topic) {
  const auto found = digest.topics.find(topic);
  return found == digest.topics.end() ? nullptr : &found->second;
}

void require_side(const DigestFile& file, const std::string& side, const std::string& cure) {
  if (file.side != side) throw MisuseError("the file is of the side \"" + file.side + "\"; " + cure);
}

/// Of these keys those that the consumer has: it has every key of a bucket in which both sides agree.
std::set<std::string> settled_elsewhere(mysql::Pool& pool, const Digest& sent, const std::string& topic,
                                        const std::vector<std::uint32_t>& differing,
                                        std::span<const SideRow* const> missing) {
  std::set<std::string> settled;
  std::vector<std::string> keys;
  const auto ask = [&] {
    if (keys.empty()) return;
    std::string sql =
        "SELECT business_key, " + bucket_expression(Side::sent(), sent.grid) +
        " FROM outbox_message WHERE purpose = '' AND status = 'sent' AND topic = ? AND event_time >= ? AND "
        "event_time < ? AND business_key IN (";
    std::vector<mysql::Param> params{mysql::Param(topic), mysql::Param(sent.grid.from),
                                     mysql::Param(sent.grid.until())};
    for (std::size_t i = 0; i < kKeysTogether; ++i) {
      sql += i == 0 ? "?" : ", ?";
      params.emplace_back(keys[std::min(i, keys.size() - 1)]);
    }
    for (const mysql::Row& row :
         pool.transact([&](mysql::Transaction& tx) { return tx.query_with(sql + ")", params); })) {
      if (!std::ranges::binary_search(differing, row.get<std::uint32_t>(1))) settled.insert(row.get<std::string>(0));
    }
    keys.clear();
  };
  for (const SideRow* row : missing) {
    if (row->business_key == row->message_id) continue;  // sent once, by the table's own unique key
    keys.push_back(row->business_key);
    if (keys.size() == kKeysTogether) ask();
  }
  ask();
  return settled;
}

}  // namespace

Grid export_sent(mysql::Pool& pool, const ReconcileOptions& options, std::ostream& out, std::stop_token stop) {
  options.validate();
  DigestFile file{.side = "sent", .at = now_of(pool)};
  const Grid grid = pool.transact([&](mysql::Transaction& tx) { return make_grid(tx, options, file.at); });
  file.digest = digest_sent(pool, grid, options.topics, std::move(stop));
  DigestWriter writer(out, file);
  for (const auto& [topic, buckets] : file.digest.topics) {
    for (std::uint32_t i = 0; i < grid.buckets(); ++i) {
      if (buckets.sums[i].count > 0) writer.bucket(topic, i, buckets.sums[i]);
    }
  }
  writer.end();
  return grid;
}

std::vector<Compared> answer(mysql::Pool& pool, std::istream& in, const std::string& consumer,
                             const ReconcileOptions& options, std::ostream* out, std::stop_token stop) {
  options.validate();
  const DigestFile sent = read_file(in);
  require_side(sent, "sent", "an answer is compared where the messages are sent from");
  DigestFile mine{.side = "settled", .consumer = consumer, .at = now_of(pool)};
  mine.digest = digest_settled(pool, consumer, sent.digest.grid, topics_of(sent), std::move(stop));
  const Grid& grid = sent.digest.grid;
  const auto horizon = first_buckets(pool, consumer, grid);
  std::uint32_t oldest = 0;  // marks may have been purged before the horizon was asked for
  if (const Time kept = mine.at - options.span; kept > grid.from) {
    const auto passed = std::chrono::ceil<std::chrono::minutes>(kept - grid.from).count();
    oldest = static_cast<std::uint32_t>(std::min<std::int64_t>(passed, grid.minutes)) * grid.slices;
  }
  std::optional<DigestWriter> writer;
  if (out != nullptr) writer.emplace(*out, mine);
  std::vector<Compared> compared;
  for (const auto& [topic, buckets] : sent.digest.topics) {
    const auto first = horizon.find(topic);
    const auto differ = differing(&buckets, find(mine.digest, topic), grid,
                                  std::max(oldest, first == horizon.end() ? 0 : first->second), options.contents);
    compared.push_back({.pair = {.consumer = consumer, .topic = topic},
                        .sent = sent.digest.count(topic),
                        .settled = mine.digest.count(topic),
                        .buckets = grid.buckets(),
                        .differing = static_cast<std::uint32_t>(differ.size())});
    if (!writer) continue;
    const Buckets* known = find(mine.digest, topic);
    for (const std::uint32_t bucket : differ) {
      writer->bucket(topic, bucket, known != nullptr ? known->sums[bucket] : Sum{});
    }
    for (std::span<const std::uint32_t> left(differ); !left.empty();) {
      const std::size_t step = step_of(sent.digest, mine.digest, topic, left);
      for (const SideRow& row : read_rows(pool, Side::settled(consumer), mine.digest, topic, left.first(step))) {
        writer->row(topic, row);
      }
      left = left.subspan(step);
    }
  }
  if (writer) writer->end();
  return compared;
}

Report read_answer(mysql::Pool& pool, std::istream& in, const ReconcileOptions& options, const Reconciler::Visit& visit,
                   std::stop_token stop) {
  options.validate();
  DigestFile theirs = read_file(in);
  require_side(theirs, "settled", "it is compared where the messages are consumed, with --consumer");
  outbox::check_name("consumer of the digest file", theirs.consumer);
  Report report{.grid = theirs.digest.grid, .at = std::min(now_of(pool), theirs.at)};
  const Digest sent = digest_sent(pool, theirs.digest.grid, topics_of(theirs), std::move(stop));
  Sieve sieve(pool, options, report, visit);
  Drill drill(pool, options, report.at, sieve);
  for (auto& [topic, differ] : theirs.differing) {
    const Pair pair{.consumer = theirs.consumer, .topic = topic};
    std::ranges::sort(differ);
    std::vector<SideRow> right = std::move(theirs.rows[topic]);
    std::ranges::sort(right, {}, &SideRow::business_key);
    const std::vector<SideRow> left = [&] {
      std::vector<SideRow> rows;
      for (std::span<const std::uint32_t> rest(differ); !rest.empty();) {
        const std::size_t step = step_of(sent, theirs.digest, topic, rest);
        for (SideRow& row : read_rows(pool, Side::sent(), sent, topic, rest.first(step)))
          rows.push_back(std::move(row));
        rest = rest.subspan(step);
      }
      std::ranges::sort(rows, {}, [](const SideRow& row) { return std::tie(row.business_key, row.id); });
      return rows;
    }();
    const Differences found = differences(left, right, options.contents);
    const std::set<std::string> settled = settled_elsewhere(pool, sent, topic, differ, found.missing);
    for (const SideRow* row : found.missing) {
      if (!settled.contains(row->business_key)) drill.report_missing(pair, *row);
    }
    drill.confirm_unexpected(pair, found.unexpected);
    for (const SideRow* row : found.conflicts) drill.report_conflict(pair, *row);
    report.compared.push_back({.pair = pair,
                               .sent = left.size(),
                               .settled = right.size(),
                               .buckets = report.grid.buckets(),
                               .differing = static_cast<std::uint32_t>(differ.size())});
  }
  sieve.flush();
  return report;
}

std::string side_of(std::istream& file) {
  std::string magic;
  std::string head;
  std::getline(file, magic);
  std::getline(file, head);
  file.clear();
  file.seekg(0);
  if (head.starts_with("head settled ")) return "settled";
  return "sent";
}

}  // namespace oncemark::reconcile
