#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <oncemark/core/clock.hpp>
#include <oncemark/mysql/pool.hpp>

namespace oncemark::housekeeping {

struct PartitionOptions {
  std::chrono::seconds marks = std::chrono::hours(24 * 7);  // as SweepOptions::marks
  std::chrono::hours width{24};       // time of one partition · few large ones against a short check · 1 to 744
  int ahead = 7;                      // partitions made before their time has come · 1 to 100
  std::chrono::seconds lock_wait{1};  // for the table, while all claims wait behind us · 1 to 60
  int tries = 20;                     // of taking that lock · 1 to 1,000
  std::chrono::milliseconds longest_check{2'000};  // a partition whose rows cannot be checked in that time stays, as
                                                   // claims would wait for so long · ≥ 100 ms

  /// Throws ConfigError naming the field.
  void validate() const;
};

/// What rotate_partitions() did.
struct Rotation {
  struct Kept {
    std::string partition = {};
    std::string why = {};
  };
  std::vector<std::string> dropped = {};
  std::vector<Kept> kept = {};  // old enough, but not to be dropped yet
  std::vector<std::string> added = {};
};

/// One partition of consumed_message, in order of its keys.
struct Partition {
  std::string name = {};            // pYYYYMMDD_HH: keys made before that hour, UTC; or `others`
  std::optional<Time> before = {};  // none: `others`
  std::uint64_t rows = 0;           // as the server estimates
};

/// Partitions of consumed_message by time, for message keys that are time-ordered message ids (UUID version 7): old
/// days are dropped instead of deleted. An opt-in of the operator, who runs the statement that this returns.
///
/// Shape:   RANGE COLUMNS (message_key). Keys of other forms lie in `others`, or in the oldest partition when they
///          sort below all time-ordered ones: nothing is dropped for its name, only for what is in it. No claim and no
///          other statement changes.
/// Errors:  none.
/// Source:  design, decision 16; ADR 0010.
[[nodiscard]] std::string partition_statement(const PartitionOptions& options, Time now);

/// The partitions there are; empty when the table has none of ours.
[[nodiscard]] std::vector<Partition> partitions(mysql::Pool& pool);

/// The least key that a time-ordered id made at `time` may have.
[[nodiscard]] std::string first_key_of(Time time);

/// Drops the partitions that are old and hold nothing but old, plainly done marks, raising the horizon over them, and
/// makes those of the days to come.
///
/// Shape:   a partition with rows that are retrying, parked or dead, that failed once, or that are younger than the
///          retention stays; the sweeper removes from it row by row what it may. Each partition is checked once without
///          a lock, then again under LOCK TABLES, which lasts as long as the check did.
/// Threads: any; one at a time per database (the table lock).
/// Errors:  MysqlError; MisuseError when the table has no partitions of ours. A lock that cannot be had is no error:
///          the partition is kept.
/// Crash:   before the DROP: the horizon may be raised already, which is harmless. After: the marks are gone, and the
///          horizon covers them.
Rotation rotate_partitions(mysql::Pool& pool, const PartitionOptions& options);

}  // namespace oncemark::housekeeping
