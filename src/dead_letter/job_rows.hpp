#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include <oncemark/dead_letter/replay.hpp>
#include <oncemark/mysql/transaction.hpp>

namespace oncemark::dead_letter {

/// A row of `replay_job`: how the job stands, and the order it was given, but for its selection, which is frozen.
struct StoredJob {
  ReplayJob job;
  ReplayOrder order;
};

/// Throws MisuseError naming the field.
void check_order(const ReplayOrder& order);

/// Writes the order and its frozen letters; the new job's id.
[[nodiscard]] std::uint64_t insert_job(mysql::Transaction& tx, const ReplayOrder& order, const ReplayPlan& plan,
                                       std::string_view state);

/// Waits for a transaction that is changing the job, so that what is read is the truth also after a commit in doubt.
[[nodiscard]] std::optional<StoredJob> lock_job(mysql::Transaction& tx, std::uint64_t id);
/// The job of `consumer` that is marked running.
[[nodiscard]] std::optional<ReplayJob> running_job(mysql::Transaction& tx, const std::string& consumer);

/// What a transaction has done for its job.
struct Advance {
  std::uint64_t letters = 0;
  std::uint64_t replayed = 0;
  std::uint64_t skipped = 0;
  std::uint64_t guarded = 0;
  std::uint64_t refused = 0;
};
/// Moves the checkpoint from where `job` has it, and adds to the counts. False when the job is not running, or
/// somebody else has moved it.
[[nodiscard]] bool advance_job(mysql::Transaction& tx, const ReplayJob& job, const Advance& done);

/// running → `state`, with what is to be known of it. The frozen letters of a job that is done or cancelled go.
void end_job(mysql::Transaction& tx, std::uint64_t id, std::string_view state, const std::string& note = {});
/// The same of a job that `tx` has locked, whatever its state.
void end_locked_job(mysql::Transaction& tx, std::uint64_t id, std::string_view state, const std::string& note);

/// What a person did to a whole job, in `replay_audit`.
void audit_job(mysql::Transaction& tx, const ReplayJob& job, std::string_view action, const std::string& outcome,
               const std::string& operator_name, const std::string& reason);

/// Reads the columns of kJobColumns.
inline constexpr std::string_view kJobColumns =
    "id, consumer, state, selected, replayed, skipped, guarded, refused, checkpoint, rate, operator, reason, "
    "COALESCE(note, '') AS note, created_at, updated_at";
[[nodiscard]] ReplayJob read_job(const mysql::Row& row);

}  // namespace oncemark::dead_letter
