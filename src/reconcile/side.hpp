#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <oncemark/mysql/transaction.hpp>
#include <oncemark/reconcile/digest.hpp>

namespace oncemark::reconcile {

/// One of the two tables that are compared, as its statements name things. Both have the columns payload_hash,
/// message_id and event_time.
struct Side {
  static Side sent();
  static Side settled(std::string consumer);

  std::string table;
  std::string business_key;  // expression
  std::string topic;         // column
  std::string since;         // column
  std::string order;         // the last column of the primary key
  std::string condition;     // with one placeholder if there is a consumer
  std::string consumer;      // empty: sent
};

/// "(minute · slices + slice)" of a row, by the grid.
[[nodiscard]] std::string bucket_expression(const Side& side, const Grid& grid);

/// What `condition` and "order > ? AND order <= ?" are bound to. Views into both.
[[nodiscard]] std::vector<mysql::Param> bounds_of(const Side& side, const Stretch& stretch);

/// A row in a bucket that differs.
struct SideRow {
  std::uint32_t bucket = 0;
  std::string business_key = {};
  std::string message_id = {};
  std::optional<std::uint64_t> payload_hash = {};
  Time event_time{};
  Time since{};
  std::uint64_t id = 0;  // of the outbox row
};

/// The rows of these buckets of one topic, sorted by business key. `digest` says in which stretches they may be.
[[nodiscard]] std::vector<SideRow> read_rows(mysql::Pool& pool, const Side& side, const Digest& digest,
                                             const std::string& topic, std::span<const std::uint32_t> buckets);

}  // namespace oncemark::reconcile
