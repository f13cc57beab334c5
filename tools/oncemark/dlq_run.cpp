#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <iostream>

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
  FromTopicFlags from;
  std::optional<std::string> rate = {};
  std::string reason;
  std::optional<std::string> operator_name = {};
  std::optional<std::string> relay = {};
  std::optional<std::string> confirm = {};
  std::optional<std::uint64_t> resume = {};
  bool dry_run = false;
  bool yes = false;
  bool fail_if_empty = false;
};

std::string letters_text(std::uint64_t count) { return grouped(count) + (count == 1 ? " letter" : " letters"); }

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
    check_flags();
    Letters letters(globals_);
    Replay replay(*letters.pool);
    if (flags_.resume) {
      job_ = replay.resume(*flags_.resume, rate());
      if (job_.state == "done" && !globals_.json) say("Job " + std::to_string(job_.id) + " is done already.");
      return work(replay);
    }
    ReplayOrder order = order_for(letters);
    const ReplayPlan plan = replay.plan(order);
    planned_ = plan.extent.letters;
    if (planned_ == 0) {
      if (!globals_.json) say("No dead letters match; nothing to do.");
      return flags_.fail_if_empty ? kNothing : kDone;
    }
    show_plan(letters, order, plan);
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
    order.selection.last_id = plan.extent.last_id;  // just those that the plan showed
    job_ = replay.start(order);
    return work(replay);
  }

  /// All that can be said before the database is asked.
  void check_flags() const {
    (void)rate();
    (void)flags_.selection.selection(Time{});
    if (flags_.resume) {
      if (flags_.selection.consumer || flags_.selection.is_narrowed() || flags_.dry_run || flags_.relay) {
        throw UsageError("--resume goes on with the job's own selection; only --rate can be given anew");
      }
    } else if (!flags_.selection.consumer) {
      throw UsageError("run needs --consumer (`dlq-replay topics` shows those that have letters), or --resume JOB");
    }
    if (flags_.selection.limit == std::uint64_t{0}) throw UsageError("--limit must be at least 1");
  }

  [[nodiscard]] std::optional<double> rate() const {
    if (!flags_.rate) return std::nullopt;
    return parse_rate(*flags_.rate);
  }

  [[nodiscard]] ReplayOrder order_for(const Letters& letters) const {
    const Time now = letters.pool->transact([](mysql::Transaction& tx) { return ledger::database_now(tx); });
    return {.selection = flags_.selection.selection(now),
            .limit = flags_.selection.limit.value_or(UINT64_MAX),
            .rate = rate().value_or(0),
            .operator_name = flags_.operator_name.value_or(default_operator()),
            .reason = flags_.reason,
            .relay = flags_.relay.value_or(std::string()),
            .topics = letters.settings.topics};
  }

  // ---- The plan ----

  void show_plan(const Letters& letters, const ReplayOrder& order, const ReplayPlan& plan) const {
    const std::string relay = order.relay.empty() ? *order.selection.consumer : order.relay;
    const int live = outbox::live_relays(*letters.pool, relay);
    const double seconds = order.rate > 0 ? static_cast<double>(plan.extent.letters) / order.rate : 0;
    if (globals_.json) {
      print_json(plan_json(order, plan, relay, live, seconds));
    } else {
      // A dry run's plan is its data; otherwise it is part of the question.
      const std::string text = plan_text(order, plan, relay, seconds);
      if (flags_.dry_run) {
        std::cout << text << std::flush;
      } else {
        std::cerr << text << std::flush;
      }
    }
    if (live == 0) {
      say("warning: no relay named " + relay +
          " is alive; the records will wait in outbox_message until one runs "
          "(outbox-relay run --name " +
          relay + ")");
    }
  }

  [[nodiscard]] static std::string plan_text(const ReplayOrder& order, const ReplayPlan& plan, const std::string& relay,
                                             double seconds) {
    std::string text = "Plan: replay " + letters_text(plan.extent.letters) + " of consumer " +
                       *order.selection.consumer + ", up to letter id " + std::to_string(plan.extent.last_id) + "\n";
    for (const auto& target : plan.targets) {
      text +=
          "  to     " + printable(target.topic, 249) + "  (" + grouped(target.letters) + ", by relay " + relay + ")\n";
    }
    if (plan.in_place > 0) {
      text += "  to     their places at the head of stopped keys  (" + grouped(plan.in_place) + ", in order)\n";
    }
    text += "  rate   " + rate_text(order.rate);
    if (order.rate > 0) {
      text += ", about " + short_duration(std::chrono::milliseconds(static_cast<std::int64_t>(seconds * 1'000)));
    }
    text += "\n\n";
    Table table({{"FINGERPRINT"}, {"LETTERS", Table::Align::right}, {"LAST"}, {"ERROR", Table::Align::left, 100}});
    std::uint64_t shown = 0;
    for (const auto& group : plan.groups) {
      shown += group.letters;
      table.add({group.fingerprint, grouped(group.letters), short_time(group.last_died_at),
                 group.error_class + ": " + group.error_text});
    }
    if (shown < plan.extent.letters) table.add({"others", grouped(plan.extent.letters - shown), "", ""});
    return text + table.str("  ");
  }

  [[nodiscard]] static Json plan_json(const ReplayOrder& order, const ReplayPlan& plan, const std::string& relay,
                                      int live, double seconds) {
    Json targets = Json::array();
    for (const auto& target : plan.targets) targets.push_back({{"topic", target.topic}, {"letters", target.letters}});
    Json groups = Json::array();
    for (const auto& group : plan.groups) {
      groups.push_back({{"fingerprint", group.fingerprint},
                        {"letters", group.letters},
                        {"first_died_at", to_json(group.first_died_at)},
                        {"last_died_at", to_json(group.last_died_at)},
                        {"error_class", to_json(Bytes(group.error_class))},
                        {"error_text", to_json(Bytes(group.error_text))}});
    }
    return {{"event", "plan"},
            {"consumer", *order.selection.consumer},
            {"letters", plan.extent.letters},
            {"last_id", plan.extent.last_id},
            {"targets", targets},
            {"in_place", plan.in_place},
            {"relay", relay},
            {"live_relays", live},
            {"rate", order.rate > 0 ? Json(order.rate) : Json()},
            {"seconds", order.rate > 0 ? Json(seconds) : Json()},
            {"groups", groups}};
  }

  // ---- The work ----

  int work(Replay& replay) {
    const StopOnSignal signals;
    const std::stop_callback announce(signals.token(),
                                      [] { say("Stopping after the letter in flight (a second signal aborts)…"); });
    if (!globals_.json && job_.state == "running") {
      say((flags_.resume ? "Job " + std::to_string(job_.id) + " goes on. " : "Job " + std::to_string(job_.id) + ". ") +
          "Ctrl-C stops safely; `" + resume_command() + "` continues.");
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
    return job_.refused > 0 ? kPartly : kDone;
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
                   {"refused", job_.refused},
                   {"seconds", std::chrono::duration<double>(elapsed_).count()}};
      if (!error.empty()) summary["error"] = error;
      if (can_be_resumed()) summary["resume"] = resume_command();
      print_json(summary);
      return;
    }
    if (job_.id == 0 || !error.empty()) return;
    const bool is_done = job_.state == "done";
    std::cout << (is_done ? "Done: " : "Stopped: ") << grouped(job_.replayed) << " of " << letters_text(job_.selected)
              << " replayed";
    if (job_.skipped > job_.refused)
      std::cout << ", " << grouped(job_.skipped - job_.refused) << " skipped (no longer dead)";
    if (job_.refused > 0) std::cout << ", " << grouped(job_.refused) << " could not be replayed";
    if (!is_done)
      std::cout << ", " << grouped(job_.selected - std::min(job_.selected, job_.replayed + job_.skipped)) << " left";
    std::cout << ".  Job " << job_.id << ", " << short_duration(elapsed_) << ".\n";
    if (can_be_resumed()) std::cout << resume_line() << '\n';
    std::cout.flush();
  }

  [[nodiscard]] bool can_be_resumed() const {
    return job_.id != 0 && job_.state != "done" && job_.state != "cancelled";
  }
  [[nodiscard]] std::string resume_command() const {
    return "dlq-replay run --resume " + std::to_string(job_.id) +
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
  if (flags.resume && selects) {  // before the database is asked what the job is
    throw UsageError("--resume goes on with the job's own selection; only --rate can be given anew");
  }
  const auto topic_job = [&] {
    return flags.resume && dead_letter::TopicReplay::is_topic_job(*Letters(globals).pool, *flags.resume);
  };
  if (!flags.from.is_set() && !topic_job()) return Run(globals, flags).perform();
  if (selects) throw UsageError("with --from-topic only --partition and --limit select");
  return replay_topic(globals, {.from = flags.from,
                                .limit = flags.selection.limit,
                                .rate = flags.rate ? parse_rate(*flags.rate) : 0,
                                .reason = flags.reason,
                                .operator_name = flags.operator_name.value_or(default_operator()),
                                .confirm = flags.confirm,
                                .resume = flags.resume,
                                .dry_run = flags.dry_run,
                                .yes = flags.yes,
                                .fail_if_empty = flags.fail_if_empty});
}

}  // namespace

void add_run_verb(CLI::App& parent, Program& program) {
  CLI::App& verb =
      add_verb(parent, "run", "replay dead letters: each starts its next life on the group's own retry topic",
               "  dlq-replay run --consumer shipping --fingerprint 9f2c --dry-run\n"
               "  dlq-replay run --consumer shipping --fingerprint 9f2c --rate 50/s --reason 'fixed in 1.4.2' --yes\n"
               "  dlq-replay run --consumer shipping --confirm=shipping          # all of them\n"
               "  dlq-replay run --resume 7\n"
               "  dlq-replay run --from-topic orders-dlt --allow orders --dry-run\n"
               "\nEach letter is replayed by one database transaction, so a crash leaves it replayed or not, and a\n"
               "second replay of it finds nothing to do. The record reaches its handler at least once; its effect\n"
               "takes place once.");
  auto flags = std::make_shared<RunFlags>();
  flags->selection.add_to(verb);
  flags->from.add_to(verb);
  flags->from.add_targets_to(verb);
  verb.add_option("--limit", flags->selection.limit, "at most so many, the oldest first")
      ->type_name("N")
      ->group("Selection (all must match)");
  verb.add_flag("-n,--dry-run", flags->dry_run, "show the plan and do nothing");
  verb.add_option("--rate", flags->rate, "letters per time: 50/s, 600/m (default: no limit)")->type_name("RATE");
  verb.add_option("--reason", flags->reason, "why, for the audit")->type_name("TEXT");
  verb.add_option("--operator", flags->operator_name, "who, for the audit (default: your account)")->type_name("NAME");
  verb.add_option("--relay", flags->relay, "who sends the records (default: the relay named like the consumer)")
      ->type_name("NAME");
  verb.add_flag("-y,--yes", flags->yes, "do not ask; enough when something narrows the selection");
  verb.add_option("--confirm", flags->confirm, "do not ask, also for all letters of this consumer, or of this topic")
      ->type_name("NAME");
  verb.add_option("--resume", flags->resume, "go on with a job that was stopped or died")->type_name("JOB");
  verb.add_flag("--fail-if-empty", flags->fail_if_empty, "exit code 5 when nothing matches");
  on_chosen(verb, program, std::move(flags), run_replay);
}

}  // namespace oncemark::tools
