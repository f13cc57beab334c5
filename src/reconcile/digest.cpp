#include <oncemark/reconcile/digest.hpp>

#include <algorithm>
#include <bit>
#include <chrono>
#include <unordered_map>

#include <oncemark/core/error.hpp>
#include <oncemark/outbox/writer.hpp>

#include "reconcile/side.hpp"

namespace oncemark::reconcile {
namespace {

// Rows that one statement adds up: as many as take a second or two, far below the time that an answer may take.
constexpr std::uint64_t kFirstStretch = 200'000;
constexpr std::uint64_t kLeastStretch = 10'000;
constexpr std::uint64_t kMostStretch = 2'000'000;
constexpr std::chrono::seconds kQuick{1};
constexpr std::chrono::seconds kSlow{3};
constexpr std::uint64_t kMessagesABucket = 64;        // that suitable_slices() aims at
constexpr std::uint32_t kSuitableBuckets = 1u << 17;  // and at most so many, for they lie in memory
constexpr std::size_t kMostStretches = UINT16_MAX;

/// Adds up the rows of one side, stretch by stretch.
class Adder {
 public:
  Adder(mysql::Pool& pool, Side side, const Grid& grid, const std::vector<std::string>& topics, std::stop_token stop)
      : pool_(pool), side_(std::move(side)), stop_(std::move(stop)) {
    grid.validate();
    digest_.grid = grid;
    std::string chosen;
    for (const std::string& topic : topics) {
      outbox::check_topic(topic);  // nothing that could end a literal
      chosen += (chosen.empty() ? "'" : ", '") + topic + "'";
    }
    where_ = " FROM " + side_.table + " WHERE " + side_.condition + " AND " + side_.order + " > ? AND " + side_.order +
             " <= ? AND event_time >= ? AND event_time < ?" +
             (chosen.empty() ? "" : " AND " + side_.topic + " IN (" + chosen + ")");
    // The product makes the sum over keys more than the sum of their CRCs, which are linear: two pairs of keys that
    // differ alike would cancel out.
    const std::string crc = "CRC32(" + side_.business_key + ")";
    sums_ = "SELECT CRC32(" + side_.topic + ") AS topic_crc, " + bucket_expression(side_, grid) +
            " AS bucket, COUNT(*), BIT_XOR(" + crc + " * 2654435761), BIT_XOR(((payload_hash & 4294967295) * " + crc +
            ") ^ (payload_hash >> 32)), COUNT(payload_hash)" + where_ + " GROUP BY topic_crc, bucket";
  }

  Digest add_up() {
    if (side_.consumer.empty()) {
      const auto ids = pool_.transact([](mysql::Transaction& tx) {
        return tx.query("SELECT COALESCE(MIN(id), 1), COALESCE(MAX(id), 0) FROM outbox_message").at(0);
      });
      const auto last = ids.get<std::uint64_t>(1);
      for (std::uint64_t after = ids.get<std::uint64_t>(0) - 1; after < last;) {
        const std::uint64_t up_to = std::min(last, after + std::max(stretch_, last / (kMostStretches - 1)));
        add({.after = std::to_string(after), .up_to = std::to_string(up_to)});
        after = up_to;
      }
      return std::move(digest_);
    }
    const auto last = pool_.transact([&](mysql::Transaction& tx) {
      return tx.query("SELECT MAX(message_key) FROM consumed_message WHERE consumer = ?", side_.consumer)
          .at(0)
          .get<std::optional<std::string>>(0);
    });
    for (std::string after; last && after < *last;) {
      std::string up_to = end_of_stretch(after).value_or(*last);
      add({.after = after, .up_to = up_to});
      after = std::move(up_to);
    }
    return std::move(digest_);
  }

 private:
  std::optional<std::string> end_of_stretch(const std::string& after) {
    const auto row = pool_.transact([&](mysql::Transaction& tx) {
      return tx.query_row(
          "SELECT message_key FROM consumed_message WHERE consumer = ? AND message_key > ? ORDER BY message_key LIMIT "
          "1 OFFSET ?",
          side_.consumer, after, stretch_);
    });
    if (!row) return std::nullopt;
    return row->get<std::string>(0);
  }

  [[nodiscard]] std::vector<mysql::Param> params(const Stretch& stretch) const {
    std::vector<mysql::Param> params = bounds_of(side_, stretch);
    params.emplace_back(digest_.grid.from);
    params.emplace_back(digest_.grid.until());
    return params;
  }

  void add(Stretch stretch) {
    if (stop_.stop_requested()) throw UnavailableError("the reconciliation was stopped");
    const auto began = std::chrono::steady_clock::now();
    const mysql::Rows rows =
        pool_.transact([&](mysql::Transaction& tx) { return tx.query_with(sums_, params(stretch)); });
    const auto took = std::chrono::steady_clock::now() - began;
    if (took < kQuick) stretch_ = std::min(kMostStretch, stretch_ * 2);
    if (took > kSlow) stretch_ = std::max(kLeastStretch, stretch_ / 2);
    const auto index = static_cast<std::uint16_t>(std::min(digest_.stretches.size(), kMostStretches - 1));
    for (const mysql::Row& row : rows) {
      Buckets& buckets = buckets_of(row.get<std::uint64_t>(0), stretch);
      const auto bucket = row.get<std::uint32_t>(1);
      Sum& sum = buckets.sums.at(bucket);
      if (sum.count == 0) buckets.first[bucket] = index;
      buckets.last[bucket] = index;
      sum.add({.count = row.get<std::uint64_t>(2),
               .keys = row.get<std::uint64_t>(3),
               .contents = row.get<std::uint64_t>(4),
               .hashed = row.get<std::uint64_t>(5)});
    }
    digest_.stretches.push_back(std::move(stretch));
  }

  /// Groups go by a number, since the server's own tables for groups reserve the full length of a name in each row.
  Buckets& buckets_of(std::uint64_t topic_crc, const Stretch& stretch) {
    const auto known = by_crc_.find(topic_crc);
    if (known != by_crc_.end()) return *known->second;
    auto bounds = params(stretch);
    bounds.emplace_back(topic_crc);
    const mysql::Rows named = pool_.transact([&](mysql::Transaction& tx) {
      return tx.query_with("SELECT " + side_.topic + where_ + " AND CRC32(" + side_.topic + ") = ? LIMIT 1", bounds);
    });
    const std::string topic = named.empty() ? std::string() : named.front().get<std::string>(0);
    Buckets& buckets = digest_.topics[topic];
    buckets.sums.resize(digest_.grid.buckets());
    buckets.first.resize(digest_.grid.buckets());
    buckets.last.resize(digest_.grid.buckets());
    by_crc_.emplace(topic_crc, &buckets);
    return buckets;
  }

  mysql::Pool& pool_;
  Side side_;
  std::stop_token stop_;
  std::string where_;
  std::string sums_;
  Digest digest_;
  std::uint64_t stretch_ = kFirstStretch;
  std::unordered_map<std::uint64_t, Buckets*> by_crc_;
};

}  // namespace

void Grid::validate() const {
  if (slices == 0 || slices > 4'096 || !std::has_single_bit(slices)) {
    throw MisuseError("Grid::slices is " + std::to_string(slices) + "; allowed: powers of two from 1 to 4,096");
  }
  if (minutes == 0 || std::uint64_t{minutes} * slices > kMostBuckets) {
    throw MisuseError("a grid of " + std::to_string(minutes) + " minutes in " + std::to_string(slices) +
                      " slices; allowed: 1 to " + std::to_string(kMostBuckets) + " buckets");
  }
  if (std::chrono::floor<std::chrono::minutes>(from) != from) throw MisuseError("Grid::from is no whole minute");
}

std::uint64_t Digest::count(std::string_view topic) const {
  std::uint64_t total = 0;
  const auto found = topics.find(topic);
  if (found == topics.end()) return 0;
  for (const Sum& sum : found->second.sums) total += sum.count;
  return total;
}

Digest digest_sent(mysql::Pool& pool, const Grid& grid, const std::vector<std::string>& topics, std::stop_token stop) {
  return Adder(pool, Side::sent(), grid, topics, std::move(stop)).add_up();
}

Digest digest_settled(mysql::Pool& pool, const std::string& consumer, const Grid& grid,
                      const std::vector<std::string>& topics, std::stop_token stop) {
  outbox::check_name("consumer", consumer);
  return Adder(pool, Side::settled(consumer), grid, topics, std::move(stop)).add_up();
}

std::vector<std::uint32_t> differing(const Buckets* sent, const Buckets* settled, const Grid& grid, std::uint32_t first,
                                     Contents contents) {
  std::vector<std::uint32_t> found;
  if (sent == nullptr && settled == nullptr) return found;
  constexpr Sum kNothing;
  for (std::uint32_t bucket = first; bucket < grid.buckets(); ++bucket) {
    const Sum& left = sent != nullptr ? sent->sums[bucket] : kNothing;
    const Sum& right = settled != nullptr ? settled->sums[bucket] : kNothing;
    bool is_equal = left.count == right.count && left.keys == right.keys;
    if (contents == Contents::compared && left.hashed == left.count && right.hashed == right.count) {
      is_equal = is_equal && left.contents == right.contents;
    }
    if (!is_equal) found.push_back(bucket);
  }
  return found;
}

std::uint32_t suitable_slices(std::uint64_t rows, std::uint32_t minutes) noexcept {
  std::uint32_t slices = 1;
  while (std::uint64_t{slices} * minutes < rows / kMessagesABucket &&
         std::uint64_t{slices} * 2 * minutes <= kSuitableBuckets && slices < 4'096) {
    slices *= 2;
  }
  return slices;
}

}  // namespace oncemark::reconcile
