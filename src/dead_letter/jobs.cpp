// Jobs as others see them: listed, paused, cancelled from outside.
#include <oncemark/core/faults.hpp>
#include <oncemark/dead_letter/replay.hpp>
#include <oncemark/outbox/writer.hpp>

#include "dead_letter/job_lock.hpp"
#include "dead_letter/job_rows.hpp"
#include "dead_letter/topic_order.hpp"

namespace oncemark::dead_letter {
namespace {

/// What is marked running while nobody holds its lock was left by a process that died.
void tell_interrupted(mysql::Transaction& tx, const mysql::Pool& pool, ReplayJob& job) {
  if (job.state != "running") return;
  const std::string scope = job.consumer.empty() ? job_scope(job.topic) : job.consumer;
  const mysql::Row lock = tx.query("SELECT IS_USED_LOCK(?)", job_lock_name(pool, scope)).at(0);
  if (lock.is_null(0)) job.state = "interrupted";
}

ReplayJob end_from_outside(mysql::Pool& pool, std::uint64_t job_id, std::string_view action, std::string_view state,
                           const std::string& operator_name, const std::string& reason) {
  return pool.transact([&](mysql::Transaction& tx) {
    const auto found =
        tx.query_row("SELECT " + std::string(kJobColumns) + " FROM replay_job WHERE id = ? FOR UPDATE", job_id);
    if (!found) throw MisuseError("there is no replay job " + std::to_string(job_id) + "; see `dlq-replay jobs`");
    ReplayJob job = read_job(*found);
    const bool can_end = job.state == "running" || (state == "cancelled" && job.state != "done" && job.state != state);
    if (!can_end) {
      throw MisuseError("replay job " + std::to_string(job_id) + " is " + job.state + "; it cannot be " +
                        std::string(state));
    }
    end_locked_job(tx, job_id, state, std::string(state) + " by " + operator_name);
    audit_job(tx, job, action, std::string(state), operator_name, reason);
    ONCEMARK_FAIL_POINT("replay.before_start");
    return read_job(*tx.query_row("SELECT " + std::string(kJobColumns) + " FROM replay_job WHERE id = ?", job_id));
  });
}

}  // namespace

std::vector<ReplayJob> replay_jobs(mysql::Pool& pool, const JobSelection& selection, std::size_t limit) {
  return pool.transact([&](mysql::Transaction& tx) {
    std::string sql = "SELECT " + std::string(kJobColumns) + ", selection FROM replay_job";
    std::vector<mysql::Param> params;
    if (selection.consumer) {
      outbox::check_name("consumer", *selection.consumer);
      sql += " WHERE consumer = ?";
      params.emplace_back(*selection.consumer);
    }
    if (selection.id) {
      sql += selection.consumer ? " AND id = ?" : " WHERE id = ?";
      params.emplace_back(*selection.id);
    }
    sql += " ORDER BY id DESC LIMIT ?";
    params.emplace_back(limit);
    std::vector<ReplayJob> jobs;
    for (const mysql::Row& row : tx.query_with(sql, params)) {
      ReplayJob& job = jobs.emplace_back(read_job(row));
      if (job.consumer.empty()) job.topic = decode_topic_order(row.get<std::string>("selection")).first.topic;
      tell_interrupted(tx, pool, job);
    }
    return jobs;
  });
}

ReplayJob pause_job(mysql::Pool& pool, std::uint64_t job_id, const std::string& operator_name,
                    const std::string& reason) {
  return end_from_outside(pool, job_id, "pause", "paused", operator_name, reason);
}

ReplayJob cancel_job(mysql::Pool& pool, std::uint64_t job_id, const std::string& operator_name,
                     const std::string& reason) {
  return end_from_outside(pool, job_id, "cancel", "cancelled", operator_name, reason);
}

}  // namespace oncemark::dead_letter
