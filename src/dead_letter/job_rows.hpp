#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include <oncemark/dead_letter/replay.hpp>
#include <oncemark/mysql/transaction.hpp>

namespace oncemark::dead_letter {

/// A row of `replay_job`: how the job stands, and the order it was given with its selection frozen.
struct StoredJob {
  ReplayJob job;
  ReplayOrder order;
};

/// Throws MisuseError naming the field.
void check_order(const ReplayOrder& order);

/// Writes the order with its selection frozen at `extent`; the new job's id.
[[nodiscard]] std::uint64_t insert_job(mysql::Transaction& tx, const ReplayOrder& order, const Extent& extent);

/// Waits for a transaction that is changing the job, so that what is read is the truth also after a commit in doubt.
[[nodiscard]] std::optional<StoredJob> lock_job(mysql::Transaction& tx, std::uint64_t id);
/// The job of `consumer` that is marked running.
[[nodiscard]] std::optional<ReplayJob> running_job(mysql::Transaction& tx, const std::string& consumer);

/// Moves the checkpoint from where `job` has it, and adds to the counts. False when the job is not running, or
/// somebody else has moved it.
[[nodiscard]] bool advance_job(mysql::Transaction& tx, const ReplayJob& job, std::uint64_t checkpoint,
                               std::uint64_t replayed, std::uint64_t skipped);

/// running → `state`, with letters that were selected and never met counted as skipped when it is "done".
void end_job(mysql::Transaction& tx, std::uint64_t id, std::string_view state);

/// Reads the columns of kJobColumns.
inline constexpr std::string_view kJobColumns =
    "id, consumer, state, selected, replayed, skipped, checkpoint, rate, operator, reason, created_at, updated_at";
[[nodiscard]] ReplayJob read_job(const mysql::Row& row);

}  // namespace oncemark::dead_letter
