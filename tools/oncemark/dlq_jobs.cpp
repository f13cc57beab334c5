#include <iostream>

#include <oncemark/core/error.hpp>
#include <oncemark/core/loop.hpp>
#include <oncemark/core/signals.hpp>
#include <oncemark/observe/log.hpp>

#include "dlq.hpp"
#include "messages.hpp"
#include "progress.hpp"
#include "selection.hpp"

namespace oncemark::tools {
namespace {

using dead_letter::ReplayJob;
using namespace std::chrono_literals;

struct JobsFlags {
  std::optional<std::string> consumer = {};
  std::uint64_t limit = 20;
};

std::string next_command(const ReplayJob& job) {
  if (job.state == "planned") return "dlq-replay run --plan " + std::to_string(job.id);
  if (job.state == "running") return "dlq-replay watch " + std::to_string(job.id);
  if (job.state == "interrupted" || job.state == "stopped" || job.state == "paused") {
    return "dlq-replay resume " + std::to_string(job.id);
  }
  return {};
}

int list_jobs(const Globals& globals, const JobsFlags& flags) {
  const Letters letters(globals);
  const auto jobs = dead_letter::replay_jobs(*letters.pool, {.consumer = flags.consumer}, flags.limit);
  Table table({{"JOB", Table::Align::right},
               {"CONSUMER"},
               {"STATE"},
               {"SELECTED", Table::Align::right},
               {"REPLAYED", Table::Align::right},
               {"SKIPPED", Table::Align::right},
               {"STAY", Table::Align::right},
               {"RATE", Table::Align::right},
               {"STARTED"},
               {"LAST CHANGE"},
               {"OPERATOR", Table::Align::left, 40},
               {"REASON", Table::Align::left, 80}});
  for (const ReplayJob& job : jobs) {
    if (globals.json) print_json(job_json(job));
    table.add({std::to_string(job.id), job.consumer.empty() ? "topic " + job.topic : job.consumer, job.state,
               grouped(job.selected), grouped(job.replayed), grouped(job.skipped), grouped(job.guarded + job.refused),
               rate_text(job.rate), short_time(job.created_at), short_time(job.updated_at), job.operator_name,
               job.reason});
  }
  if (!globals.json) std::cout << table.str() << std::flush;
  if (jobs.empty()) say("No replay has been run yet.");
  if (!jobs.empty() && !next_command(jobs.front()).empty()) say("Next: " + next_command(jobs.front()));
  return kDone;
}

// ---- One job ----

struct JobFlags {
  std::optional<std::uint64_t> job = {};
  std::optional<std::string> operator_name = {};
  std::string reason = {};
};

/// The job that is meant: the newest when none is named.
ReplayJob find_job(mysql::Pool& pool, const JobFlags& flags) {
  auto found = dead_letter::replay_jobs(pool, {.id = flags.job}, 1);
  if (!found.empty()) return std::move(found.front());
  if (!flags.job) throw UsageError("no replay has been run yet");
  throw UsageError("there is no replay job " + std::to_string(*flags.job) + "; `dlq-replay jobs` shows what there is");
}

void print_job(const Globals& globals, const ReplayJob& job) {
  if (globals.json) {
    print_json(job_json(job));
    return;
  }
  const auto line = [](const char* name, const std::string& value) {
    std::cout << "  " << name << std::string(12 - std::string_view(name).size(), ' ') << value << '\n';
  };
  std::cout << "Job " << job.id << ": " << job.state << (job.note.empty() ? "" : ", " + printable(job.note, 1'000))
            << '\n';
  line("of", job.consumer.empty() ? "topic " + printable(job.topic) : "consumer " + printable(job.consumer));
  line("settled", grouped(job.checkpoint) + " of " + grouped(job.selected));
  line("replayed", grouped(job.replayed));
  line("skipped", grouped(job.skipped));
  line("stay", grouped(job.guarded) + " replayed too often before, " + grouped(job.refused) + " refused");
  line("rate", rate_text(job.rate));
  line("started", short_time(job.created_at) + " by " + printable(job.operator_name));
  line("last change", short_time(job.updated_at));
  if (!job.reason.empty()) line("reason", printable(job.reason, 1'024));
  std::cout.flush();
  if (const std::string next = next_command(job); !next.empty()) say("Next: " + next);
}

int show_status(const Globals& globals, const JobFlags& flags) {
  const Letters letters(globals);
  print_job(globals, find_job(*letters.pool, flags));
  return kDone;
}

int watch_job(const Globals& globals, const JobFlags& flags) {
  const Letters letters(globals);
  ReplayJob job = find_job(*letters.pool, flags);
  const JobFlags this_one{.job = job.id};
  const StopOnSignal signals;
  {
    Progress progress(
        globals.json ? Progress::Form::json : (can_animate() ? Progress::Form::animated : Progress::Form::lines), job);
    while (job.state == "running") {
      progress.update(job);
      if (!wait_for(signals.token(), 500ms)) return 128 + signals.signal();  // the job goes on
      job = find_job(*letters.pool, this_one);
    }
  }
  print_job(globals, job);
  return job.state == "done" && job.refused + job.guarded == 0 ? kDone : kPartly;
}

template <typename End>
int end_job(const Globals& globals, const JobFlags& flags, End end) {
  const Letters letters(globals);
  print_job(globals, end(*letters.pool, *flags.job, flags.operator_name.value_or(default_operator()), flags.reason));
  return kDone;
}

int pause(const Globals& globals, const JobFlags& flags) { return end_job(globals, flags, dead_letter::pause_job); }
int cancel(const Globals& globals, const JobFlags& flags) { return end_job(globals, flags, dead_letter::cancel_job); }

CLI::Option& add_job(CLI::App& verb, JobFlags& flags, const char* text) {
  return *verb.add_option("JOB", flags.job, text);
}

void add_audit_flags(CLI::App& verb, JobFlags& flags) {
  verb.add_option("--reason", flags.reason, "why, for the audit")->type_name("TEXT");
  verb.add_option("--operator", flags.operator_name, "who, for the audit (default: your account)")->type_name("NAME");
}

}  // namespace

void add_jobs_verb(CLI::App& parent, Program& program) {
  CLI::App& verb = add_verb(parent, "jobs", "replays that were planned or run, the newest first",
                            "  dlq-replay jobs\n  dlq-replay jobs --consumer shipping --json");
  auto flags = std::make_shared<JobsFlags>();
  verb.add_option("--consumer", flags->consumer, "of this consumer")->type_name("NAME");
  verb.add_option("--limit", flags->limit, "at most so many (default 20)")
      ->type_name("N")
      ->check(CLI::Range(1, 10'000));
  on_chosen(verb, program, std::move(flags), list_jobs);
}

void add_job_verbs(CLI::App& parent, Program& program) {
  CLI::App& status =
      add_verb(parent, "status", "how a job stands", "  dlq-replay status\n  dlq-replay status 7 --json");
  auto flags = std::make_shared<JobFlags>();
  add_job(status, *flags, "the job's number (default: the newest)");
  on_chosen(status, program, flags, show_status);

  CLI::App& watch = add_verb(parent, "watch", "follow a job that runs elsewhere, until it ends",
                             "  dlq-replay watch\n  dlq-replay watch 7\n\nCtrl-C ends the watching, not the job.");
  flags = std::make_shared<JobFlags>();
  add_job(watch, *flags, "the job's number (default: the newest)");
  on_chosen(watch, program, flags, watch_job);

  CLI::App& hold = add_verb(parent, "pause", "stop a job that runs elsewhere; resume goes on with it",
                            "  dlq-replay pause 7 --reason 'it hurts'\n  dlq-replay resume 7");
  flags = std::make_shared<JobFlags>();
  add_job(hold, *flags, "the job's number").required();
  add_audit_flags(hold, *flags);
  on_chosen(hold, program, flags, pause);

  CLI::App& end = add_verb(parent, "cancel", "end a job or drop a plan, for good",
                           "  dlq-replay cancel 7 --reason 'wrong fingerprint'\n"
                           "\nWhat was replayed stays replayed; the rest stays dead.");
  flags = std::make_shared<JobFlags>();
  add_job(end, *flags, "the job's number").required();
  add_audit_flags(end, *flags);
  on_chosen(end, program, flags, cancel);
}

}  // namespace oncemark::tools
