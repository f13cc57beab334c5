#include "reconcile/side.hpp"

#include <algorithm>
#include <chrono>
#include <tuple>

namespace oncemark::reconcile {
namespace {

constexpr std::int64_t kMinutesBefore1970 = 1'036'120'320;  // TO_SECONDS('1970-01-01') DIV 60

std::int64_t minute_number(Time time) {
  return std::chrono::floor<std::chrono::minutes>(time).time_since_epoch().count() + kMinutesBefore1970;
}

std::string list_of(std::span<const std::uint32_t> numbers) {
  std::string list;
  for (const std::uint32_t number : numbers) list += (list.empty() ? "" : ",") + std::to_string(number);
  return list;
}

}  // namespace

Side Side::sent() {
  return {.table = "outbox_message",
          .business_key = "COALESCE(business_key, message_id)",
          .topic = "topic",
          .since = "sent_at",
          .order = "id",
          .condition = "purpose = '' AND status = 'sent'",
          .consumer = {}};
}

Side Side::settled(std::string consumer) {
  return {.table = "consumed_message",
          .business_key = "message_key",
          .topic = "origin_topic",
          .since = "consumed_at",
          .order = "message_key",
          .condition = "consumer = ?",
          .consumer = std::move(consumer)};
}

std::string bucket_expression(const Side& side, const Grid& grid) {
  return "((TO_SECONDS(event_time) DIV 60 - " + std::to_string(minute_number(grid.from)) + ") * " +
         std::to_string(grid.slices) + " + (CRC32(" + side.business_key + ") & " + std::to_string(grid.slices - 1) +
         "))";
}

std::vector<mysql::Param> bounds_of(const Side& side, const Stretch& stretch) {
  std::vector<mysql::Param> params;
  if (side.consumer.empty()) {
    params.emplace_back(static_cast<std::uint64_t>(std::stoull(stretch.after)));
    params.emplace_back(static_cast<std::uint64_t>(std::stoull(stretch.up_to)));
  } else {
    params.emplace_back(side.consumer);
    params.emplace_back(stretch.after);
    params.emplace_back(stretch.up_to);
  }
  return params;
}

std::vector<SideRow> read_rows(mysql::Pool& pool, const Side& side, const Digest& digest, const std::string& topic,
                               std::span<const std::uint32_t> buckets) {
  std::vector<SideRow> rows;
  const auto found = digest.topics.find(topic);
  if (buckets.empty() || found == digest.topics.end()) return rows;
  const Buckets& known = found->second;
  std::vector<bool> wanted(digest.stretches.size());
  for (const std::uint32_t bucket : buckets) {
    if (known.sums[bucket].count == 0) continue;
    for (std::size_t i = known.first[bucket]; i <= known.last[bucket] && i < wanted.size(); ++i) wanted[i] = true;
  }
  const std::string sql = "SELECT " + bucket_expression(side, digest.grid) + ", " + side.business_key +
                          ", message_id, payload_hash, event_time, " + side.since + ", " +
                          (side.consumer.empty() ? "id" : "0") + " FROM " + side.table + " WHERE " + side.condition +
                          " AND " + side.order + " > ? AND " + side.order + " <= ? AND " + side.topic +
                          " = ? AND event_time >= ? AND event_time < ? AND " + bucket_expression(side, digest.grid) +
                          " IN (" + list_of(buckets) + ")";
  const Time from = digest.grid.minute_of(buckets.front());
  const Time until = digest.grid.minute_of(buckets.back()) + std::chrono::minutes(1);
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    if (!wanted[i]) continue;
    const Stretch& stretch = digest.stretches[i];
    std::vector<mysql::Param> params = bounds_of(side, stretch);
    params.emplace_back(topic);
    params.emplace_back(from);
    params.emplace_back(until);
    for (const mysql::Row& row : pool.transact([&](mysql::Transaction& tx) { return tx.query_with(sql, params); })) {
      rows.push_back({.bucket = row.get<std::uint32_t>(0),
                      .business_key = row.get<std::string>(1),
                      .message_id = row.get<std::string>(2),
                      .payload_hash = row.get<std::optional<std::uint64_t>>(3),
                      .event_time = row.get<Time>(4),
                      .since = row.get<std::optional<Time>>(5).value_or(row.get<Time>(4)),
                      .id = row.get<std::uint64_t>(6)});
    }
  }
  std::ranges::sort(rows, {}, [](const SideRow& row) { return std::tie(row.business_key, row.id); });
  return rows;
}

}  // namespace oncemark::reconcile
