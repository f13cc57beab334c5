#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <iostream>

#include <oncemark/config/values.hpp>
#include <oncemark/core/error.hpp>
#include <oncemark/core/signals.hpp>
#include <oncemark/dead_letter/topic_replay.hpp>
#include <oncemark/ledger/transitions.hpp>
#include <oncemark/observe/log.hpp>
#include <oncemark/outbox/shards.hpp>

#include "confirm.hpp"
#include "dlq.hpp"
#include "messages.hpp"
#include "progress.hpp"
#include "selection.hpp"
#include "topic_letters.hpp"

namespace oncemark::tools {
namespace {

using dead_letter::Replay;
using dead_letter::ReplayJob;
using dead_letter::ReplayOrder;
using dead_letter::ReplayPlan;

struct RunFlags {
  SelectionFlags selection;
  PaceFlags pace;
  FromTopicFlags from;
  std::string reason;
  std::optional<std::string> operator_name = {};
  std::optional<std::string> relay = {};
  std::optional<std::string> confirm = {};
  std::optional<std::uint64_t> resume = {};
  std::optional<std::uint64_t> plan = {};
  std::string max_plan_age = "24h";
  bool dry_run = false;
  bool yes = false;
  bool fail_if_empty = false;

  [[nodiscard]] std::optional<double> rate() const {
    return pace.rate ? std::optional(parse_rate(*pace.rate)) : std::nullopt;
  }
  /// All that can be said before the database is asked.
  void check() const {
    (void)pace.pace();
    (void)selection.selection(Time{});
    (void)selection.filter();
    if (selection.limit == std::uint64_t{0}) throw UsageError("--limit must be at least 1");
  }
};

ReplayOrder order_for(const Letters& letters, const RunFlags& flags) {
  const Time now = letters.pool->transact([](mysql::Transaction& tx) { return ledger::database_now(tx); });
  return {.selection = flags.selection.selection(now),
          .filter = flags.selection.filter(),
          .described = flags.selection.described(),
          .limit = flags.selection.limit.value_or(UINT64_MAX),
          .turn = flags.pace.turn(),
          .pace = flags.pace.pace(),
          .max_replays = flags.pace.max_replays.value_or(2),
          .operator_name = flags.operator_name.value_or(default_operator()),
          .reason = flags.reason,
          .relay = flags.relay.value_or(std::string()),
          .topics = letters.settings.topics};
}

std::string letters_text(std::uint64_t count) { return grouped(count) + (count == 1 ? " letter" : " letters"); }

// ---- The plan ----

std::string pace_text(const ReplayOrder& order, std::uint64_t letters) {
  const dead_letter::Pace& pace = order.pace;
  std::string text = "  rate   ";
  if (!pace.ramp.empty()) {
    for (const double rate : pace.ramp) text += (rate == pace.ramp.front() ? "" : ", ") + rate_text(rate);
    text += ", each for " + short_duration(pace.ramp_every);
  } else {
    text += rate_text(pace.rate);
    if (pace.rate > 0) {
      const double seconds = static_cast<double>(letters) / pace.rate;
      text += ", about " + short_duration(std::chrono::milliseconds(static_cast<std::int64_t>(seconds * 1'000)));
    }
  }
  if (pace.in_flight > 0) text += ", at most " + grouped(pace.in_flight) + " in flight";
  text += '\n';
  if (pace.canary > 0) {
    text +=
        "  canary " + grouped(pace.canary) + ", then wait for them up to " + short_duration(pace.canary_wait) + '\n';
  }
  return text;
}

std::string plan_text(const ReplayOrder& order, const ReplayPlan& plan, const std::string& relay) {
  const std::uint64_t letters = plan.letters.size();
  std::string text =
      "Plan: replay " + letters_text(letters) + " of consumer " + *order.selection.consumer + ", frozen\n";
  for (const auto& target : plan.targets) {
    text +=
        "  to     " + printable(target.topic, 249) + "  (" + grouped(target.letters) + ", by relay " + relay + ")\n";
  }
  if (plan.in_place > 0) {
    text += "  to     their places at the head of stopped keys  (" + grouped(plan.in_place) + ", in order)\n";
  }
  if (plan.guarded > 0) {
    text += "  stay   " + grouped(plan.guarded) + " that were replayed " + std::to_string(order.max_replays) +
            " times before (--max-replays)\n";
  }
  if (plan.refused > 0) text += "  stay   " + grouped(plan.refused) + " whose retry topic can have no such name\n";
  text += pace_text(order, letters) + '\n';
  Table table({{"FINGERPRINT"}, {"LETTERS", Table::Align::right}, {"LAST"}, {"ERROR", Table::Align::left, 100}});
  std::uint64_t shown = 0;
  for (const auto& group : plan.groups) {
    shown += group.letters;
    table.add({group.fingerprint, grouped(group.letters), short_time(group.last_died_at),
               group.error_class + ": " + group.error_text});
  }
  if (shown < letters) table.add({"others", grouped(letters - shown), "", ""});
  return text + table.str("  ");
}

Json plan_json(const ReplayOrder& order, const ReplayPlan& plan, const std::string& relay, int live) {
  Json targets = Json::array();
  for (const auto& target : plan.targets) targets.push_back({{"topic", target.topic}, {"letters", target.letters}});
  Json groups = Json::array();
  for (const auto& group : plan.groups) groups.push_back(group_json(group));
  const double rate = order.pace.rate;
  const auto letters = static_cast<double>(plan.letters.size());
  return {{"event", "plan"},
          {"consumer", *order.selection.consumer},
          {"letters", plan.letters.size()},
          {"last_id", plan.letters.empty() ? 0 : std::ranges::max(plan.letters)},
          {"targets", targets},
          {"in_place", plan.in_place},
          {"guarded", plan.guarded},
          {"refused", plan.refused},
          {"relay", relay},
          {"live_relays", live},
          {"rate", rate > 0 ? Json(rate) : Json()},
          {"seconds", rate > 0 ? Json(letters / rate) : Json()},
          {"groups", groups}};
}

/// A plan that is all that was asked for is data; otherwise it is part of the question.
void show_plan(const Globals& globals, const Letters& letters, const ReplayOrder& order, const ReplayPlan& plan,
               bool is_data) {
  const std::string relay = order.relay.empty() ? *order.selection.consumer : order.relay;
  const int live = outbox::live_relays(*letters.pool, relay);
  if (globals.json) {
    print_json(plan_json(order, plan, relay, live));
  } else {
    (is_data ? std::cout : std::cerr) << plan_text(order, plan, relay) << std::flush;
  }
  if (live == 0) {
    say("warning: no relay named " + relay +
        " is alive; the records will wait in outbox_message until one runs "
        "(outbox-relay run --name " +
        relay + ")");
  }
}

int nothing_matches(const Globals& globals, const RunFlags& flags) {
  if (!globals.json) say("No dead letters match; nothing to do.");
  return flags.fail_if_empty ? kNothing : kDone;
}

int save_plan(const Globals& globals, const RunFlags& flags) {
  flags.check();
  if (!flags.selection.consumer) {
    throw UsageError("plan needs --consumer; `dlq-replay topics` shows those that have letters");
  }
  Letters letters(globals);
  Replay replay(*letters.pool);
  const ReplayOrder order = order_for(letters, flags);
  const ReplayPlan plan = replay.plan(order);
  if (plan.letters.empty()) return nothing_matches(globals, flags);
  const ReplayJob job = replay.save(order, plan);
  show_plan(globals, letters, order, plan, /*is_data=*/true);
  if (globals.json) {
    print_json({{"event", "saved"}, {"job", job.id}, {"state", job.state}, {"letters", job.selected}});
  } else {
    std::cout << "\nPlan " << job.id << ".  Next: dlq-replay run --plan " << job.id << '\n' << std::flush;
  }
  return kDone;
}

/// One `dlq-replay run`, from the flags to the summary.
class Run {
 public:
  Run(const Globals& globals, const RunFlags& flags) : globals_(globals), flags_(flags) {}

  /// The exit code. With --json a summary is the last line, whatever happens.
  int perform() {
    try {
      const int code = replay();
      summarise(code, {});
      return code;
    } catch (...) {
      const Failure failure = failure_of_current_exception();
      summarise(failure.exit_code, failure.text);
      if (job_.id != 0) {
        report_current_exception();
        say(resume_line());
        return failure.exit_code;
      }
      throw;
    }
  }

 private:
  int replay() {
    flags_.check();
    if (!flags_.resume && !flags_.plan && !flags_.selection.consumer) {
      throw UsageError(
          "run needs --consumer (`dlq-replay topics` shows those that have letters), --plan JOB, or --resume JOB");
    }
    Letters letters(globals_);
    Replay replay(*letters.pool);
    if (flags_.plan) check_plan(letters);
    if (const auto known = flags_.plan ? flags_.plan : flags_.resume) {
      job_ = replay.resume(*known, flags_.rate());
      if (job_.state == "done" && !globals_.json) say("Job " + std::to_string(job_.id) + " is done already.");
      return work(replay);
    }
    const ReplayOrder order = order_for(letters, flags_);
    const ReplayPlan plan = replay.plan(order);
    planned_ = plan.letters.size();
    if (planned_ == 0) return nothing_matches(globals_, flags_);
    show_plan(globals_, letters, order, plan, flags_.dry_run);
    if (flags_.dry_run) return kDone;
    require_confirmation({.verb = "replay",
                          .doing = "replaying",
                          .things = letters_text(planned_),
                          .name = *order.selection.consumer,
                          .what_name = "consumer",
                          .is_narrowed = flags_.selection.is_narrowed(),
                          .count = planned_,
                          .yes = flags_.yes,
                          .confirm = flags_.confirm});
    job_ = replay.start(order, plan);  // just those that the plan showed
    return work(replay);
  }

  /// A plan that nobody has touched, and that is not too old.
  void check_plan(const Letters& letters) const {
    const auto found = dead_letter::replay_jobs(*letters.pool, {.id = flags_.plan}, 1);
    if (found.empty() || found.front().state != "planned") {
      throw UsageError("there is no plan " + std::to_string(*flags_.plan) +
                       (found.empty() ? "" : "; job " + std::to_string(*flags_.plan) + " is " + found.front().state) +
                       "; `dlq-replay jobs` shows what there is");
    }
    const Time now = letters.pool->transact([](mysql::Transaction& tx) { return ledger::database_now(tx); });
    const auto age = std::chrono::duration_cast<std::chrono::milliseconds>(now - found.front().created_at);
    if (age <= config::parse_duration(flags_.max_plan_age, "--max-plan-age")) return;
    throw RefusedError("plan " + std::to_string(*flags_.plan) + " is " + short_duration(age) +
                       " old; nothing was done\n  try:    dlq-replay plan again, or a longer --max-plan-age");
  }

  // ---- The work ----

  int work(Replay& replay) {
    const StopOnSignal signals;
    const std::stop_callback announce(signals.token(),
                                      [] { say("Stopping after the letters in flight (a second signal aborts)…"); });
    if (!globals_.json && job_.state == "running") {
      say("Job " + std::to_string(job_.id) + (flags_.resume ? " goes on. " : ". ") + "Ctrl-C stops safely; `" +
          resume_command() + "` continues.");
    }
    Progress::Form form = can_animate() ? Progress::Form::animated : Progress::Form::lines;
    if (globals_.json) form = Progress::Form::json;
    Progress progress(form, job_);
    job_ = replay.run(signals.token(), [&](const ReplayJob& now) {
      job_ = now;
      progress.update(now);
    });
    elapsed_ = progress.elapsed();
    if (job_.state != "done" && signals.signal() != 0) return 128 + signals.signal();
    if (job_.state != "done") return kPartly;  // ended by somebody else
    return job_.refused + job_.guarded > 0 ? kPartly : kDone;
  }

  void summarise(int code, const std::string& error) const {
    if (globals_.json) {
      Json summary{{"event", "summary"},
                   {"exit_code", code},
                   {"job", job_.id == 0 ? Json() : Json(job_.id)},
                   {"state", job_.id == 0 ? Json() : Json(job_.state)},
                   {"selected", job_.id == 0 ? planned_ : job_.selected},
                   {"replayed", job_.replayed},
                   {"skipped", job_.skipped},
                   {"guarded", job_.guarded},
                   {"refused", job_.refused},
                   {"note", job_.note.empty() ? Json() : Json(job_.note)},
                   {"seconds", std::chrono::duration<double>(elapsed_).count()}};
      if (!error.empty()) summary["error"] = error;
      if (can_be_resumed()) summary["resume"] = resume_command();
      print_json(summary);
      return;
    }
    if (job_.id == 0 || !error.empty()) return;
    std::string word = job_.state;
    word.front() = static_cast<char>(std::toupper(static_cast<unsigned char>(word.front())));
    std::cout << word << ": " << grouped(job_.replayed) << " of " << letters_text(job_.selected) << " replayed";
    if (job_.skipped > 0) std::cout << ", " << grouped(job_.skipped) << " skipped (no longer dead)";
    if (job_.guarded > 0) std::cout << ", " << grouped(job_.guarded) << " stay (replayed too often before)";
    if (job_.refused > 0) std::cout << ", " << grouped(job_.refused) << " could not be replayed";
    if (job_.state != "done") std::cout << ", " << grouped(job_.selected - job_.checkpoint) << " left";
    std::cout << ".  Job " << job_.id << ", " << short_duration(elapsed_) << ".\n";
    if (!job_.note.empty()) std::cout << "Because " << printable(job_.note, 1'000) << ".\n";
    if (can_be_resumed()) std::cout << resume_line() << '\n';
    std::cout.flush();
  }

  [[nodiscard]] bool can_be_resumed() const {
    return job_.id != 0 && job_.state != "done" && job_.state != "cancelled";
  }
  [[nodiscard]] std::string resume_command() const {
    return "dlq-replay resume " + std::to_string(job_.id) +
           (globals_.config.empty() ? "" : " --config " + globals_.config);
  }
  [[nodiscard]] std::string resume_line() const { return "Resume: " + resume_command(); }

  const Globals& globals_;
  const RunFlags& flags_;
  std::uint64_t planned_ = 0;
  ReplayJob job_ = {};
  std::chrono::milliseconds elapsed_{0};
};

int run_replay(const Globals& globals, const RunFlags& flags) {
  const bool selects = flags.selection.consumer || flags.selection.is_narrowed_besides_limit() || flags.relay;
  const bool is_set_to = selects || flags.pace.is_set_besides_rate();
  if ((flags.resume || flags.plan) && (is_set_to || flags.selection.limit || flags.dry_run)) {
    // before the database is asked what the job is
    throw UsageError(std::string(flags.resume ? "--resume" : "--plan") +
                     " goes on with the job's own selection; only --rate can be given anew");
  }
  if (flags.resume && flags.plan) throw UsageError("--plan and --resume exclude each other");
  const auto topic_job = [&] {
    return flags.resume && dead_letter::TopicReplay::is_topic_job(*Letters(globals).pool, *flags.resume);
  };
  if (!flags.from.is_set() && !topic_job()) return Run(globals, flags).perform();
  PaceFlags besides = flags.pace;
  besides.max_replays.reset();
  if (selects || besides.is_set_besides_rate()) {
    throw UsageError("with --from-topic only --partition, --limit, --rate and --max-replays can be given");
  }
  return replay_topic(globals, {.from = flags.from,
                                .limit = flags.selection.limit,
                                .max_replays = flags.pace.max_replays.value_or(2),
                                .rate = flags.rate().value_or(0),
                                .reason = flags.reason,
                                .operator_name = flags.operator_name.value_or(default_operator()),
                                .confirm = flags.confirm,
                                .resume = flags.resume,
                                .dry_run = flags.dry_run,
                                .yes = flags.yes,
                                .fail_if_empty = flags.fail_if_empty});
}

void add_audit_flags(CLI::App& verb, RunFlags& flags) {
  verb.add_option("--reason", flags.reason, "why, for the audit")->type_name("TEXT");
  verb.add_option("--operator", flags.operator_name, "who, for the audit (default: your account)")->type_name("NAME");
}

void add_limit_flag(CLI::App& verb, RunFlags& flags) {
  verb.add_option("--limit", flags.selection.limit, "at most so many, the oldest first")
      ->type_name("N")
      ->group("Selection (all must match)");
}

void add_relay_flag(CLI::App& verb, RunFlags& flags) {
  verb.add_option("--relay", flags.relay, "who sends the records (default: the relay named like the consumer)")
      ->type_name("NAME");
  verb.add_flag("--fail-if-empty", flags.fail_if_empty, "exit code 5 when nothing matches");
}

}  // namespace

void add_plan_verb(CLI::App& parent, Program& program) {
  CLI::App& verb =
      add_verb(parent, "plan", "freeze a selection of dead letters, to be replayed later",
               "  dlq-replay plan --consumer shipping --fingerprint 9f2c --canary 20\n"
               "  dlq-replay run --plan 7\n"
               "\nNothing is replayed. The letters of the plan are those of now, one by one: what dies later is\n"
               "not taken, and what is no longer dead by then is skipped.");
  auto flags = std::make_shared<RunFlags>();
  flags->selection.add_to(verb);
  add_limit_flag(verb, *flags);
  flags->pace.add_to(verb);
  add_audit_flags(verb, *flags);
  add_relay_flag(verb, *flags);
  on_chosen(verb, program, std::move(flags), save_plan);
}

void add_run_verb(CLI::App& parent, Program& program) {
  CLI::App& verb =
      add_verb(parent, "run", "replay dead letters: each starts its next life on the group's own retry topic",
               "  dlq-replay run --consumer shipping --fingerprint 9f2c --dry-run\n"
               "  dlq-replay run --consumer shipping --fingerprint 9f2c --rate 50/s --reason 'fixed in 1.4.2' --yes\n"
               "  dlq-replay run --consumer shipping --limit 5000 --canary 20 --ramp 1/s,10/s,100/s --yes\n"
               "  dlq-replay run --consumer shipping --confirm=shipping          # all of them\n"
               "  dlq-replay run --plan 7\n"
               "  dlq-replay run --resume 7\n"
               "  dlq-replay run --from-topic orders-dlt --allow orders --dry-run\n"
               "\nThe letters are frozen one by one before the first is replayed. Some of them share a database\n"
               "transaction, so a crash leaves each replayed or not, and a second replay of it finds nothing to do.\n"
               "The record reaches its handler at least once; its effect takes place once.");
  auto flags = std::make_shared<RunFlags>();
  flags->selection.add_to(verb);
  add_limit_flag(verb, *flags);
  flags->pace.add_to(verb);
  flags->from.add_to(verb);
  flags->from.add_targets_to(verb);
  verb.add_flag("-n,--dry-run", flags->dry_run, "show the plan and do nothing");
  add_audit_flags(verb, *flags);
  verb.add_flag("-y,--yes", flags->yes, "do not ask; enough when something narrows the selection");
  verb.add_option("--confirm", flags->confirm, "do not ask, also for all letters of this consumer, or of this topic")
      ->type_name("NAME");
  verb.add_option("--plan", flags->plan, "replay just the letters of this plan")->type_name("JOB");
  verb.add_option("--max-plan-age", flags->max_plan_age, "refuse an older plan (default 24h)")->type_name("TIME");
  verb.add_option("--resume", flags->resume, "go on with a job that was stopped, paused, or died")->type_name("JOB");
  add_relay_flag(verb, *flags);
  on_chosen(verb, program, std::move(flags), run_replay);
}

void add_resume_verb(CLI::App& parent, Program& program) {
  CLI::App& verb = add_verb(parent, "resume", "go on with a job that was stopped, paused, or died (run --resume)",
                            "  dlq-replay resume 7\n  dlq-replay resume 7 --rate 10/s");
  auto flags = std::make_shared<RunFlags>();
  verb.add_option("JOB", flags->resume, "the job's number")->required();
  verb.add_option("--rate", flags->pace.rate, "from now on, instead of its rate or ramp")->type_name("RATE");
  on_chosen(verb, program, std::move(flags), run_replay);
}

}  // namespace oncemark::tools
