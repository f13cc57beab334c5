#include "reconcile.hpp"

#include <algorithm>
#include <fstream>
#include <iostream>
#include <map>

#include <oncemark/config/values.hpp>
#include <oncemark/core/error.hpp>
#include <oncemark/core/signals.hpp>
#include <oncemark/observe/log.hpp>
#include <oncemark/reconcile/exchange.hpp>
#include <oncemark/reconcile/repair.hpp>

#include "confirm.hpp"
#include "dlq.hpp"
#include "messages.hpp"

namespace oncemark::tools {
namespace {

using reconcile::Action;
using reconcile::Finding;
using reconcile::Kind;
using reconcile::Report;

constexpr std::chrono::minutes kMargin{10};  // a sweeper may be at work at the edge of what is kept

std::vector<Kind> kinds_in(const std::vector<std::string>& words, const char* flag) {
  std::vector<Kind> kinds;
  for (const std::string& word : words) {
    if (word == "all")
      return {Kind::unsent, Kind::unsettled, Kind::unexpected, Kind::dead, Kind::replayed, Kind::conflict};
    try {
      kinds.push_back(reconcile::parse_kind(word));
    } catch (const MisuseError& error) {
      throw UsageError(std::string(flag) + ": " + error.what());
    }
  }
  return kinds;
}

std::string differences_text(std::uint64_t count) {
  return grouped(count) + (count == 1 ? " difference" : " differences");
}

/// One `reconcile run`, from the flags to the summary.
class Run {
 public:
  Run(const Globals& globals, const ReconcileFlags& flags) : globals_(globals), flags_(flags) {}

  int perform() {
    const StopOnSignal signals;  // before any other thread
    const Letters tables(globals_);
    options_ = options_of(tables.settings, flags_);
    waived_kinds_ = kinds_in(flags_.waive, "--waive");
    repair_options_ = {.operator_name = flags_.operator_name.value_or(default_operator()),
                       .reason = flags_.reason,
                       .sla = options_.sla,
                       .resend = {.topics = tables.settings.topics}};
    if (!flags_.waive.empty()) repair_options_.validate(Action::waive);

    look(*tables.pool, signals.token());
    if (report_.total() == 0) {
      if (globals_.json) summarise(kDone);
      if (flags_.verbose && !globals_.json) tell_compared(report_);
      return kDone;
    }
    show();
    if (!flags_.repair && flags_.waive.empty()) {
      if (globals_.json) summarise(kUnhealthy);
      return kUnhealthy;
    }
    return repair(tables, signals);
  }

 private:
  void look(mysql::Pool& pool, std::stop_token stop) {
    const auto visit = [&](const Finding& finding) { take(finding); };
    if (flags_.file.empty()) {
      report_ = reconcile::Reconciler(pool, options_).look(visit, std::move(stop));
      return;
    }
    std::ifstream file(flags_.file, std::ios::binary);
    if (!file) throw UsageError("cannot read the digest file " + printable(flags_.file, 200));
    report_ = reconcile::read_answer(pool, file, options_, visit, std::move(stop));
  }

  [[nodiscard]] Action action_of(const Finding& finding) const {
    if (std::ranges::find(waived_kinds_, finding.kind) != waived_kinds_.end()) return Action::waive;
    return flags_.repair ? reconcile::action_for(finding) : Action::none;
  }

  void take(const Finding& finding) {
    if (globals_.json) {
      Json line = finding_json(finding);
      line["repair"] = to_string(reconcile::action_for(finding));
      print_json(line);
    }
    std::uint64_t& shown = shown_[finding.kind];
    if (flags_.repair || !flags_.waive.empty() || shown < flags_.limit) findings_.push_back(finding);
    ++shown;
  }

  void show() {
    if (globals_.json) return;
    tell_compared(report_);
    Table table({{"DIFFERENCE"},
                 {"CONSUMER/RELAY"},
                 {"TOPIC"},
                 {"BUSINESS KEY", Table::Align::left, 48},
                 {"WHERE IT STANDS"},
                 {"SINCE (UTC)"},
                 {"ROW", Table::Align::right},
                 {"LETTER", Table::Align::right}});
    std::map<Kind, std::uint64_t> shown;
    for (const Finding& finding : findings_) {
      if (++shown[finding.kind] > flags_.limit) continue;
      table.add({std::string(to_string(finding.kind)), finding.scope, finding.topic, finding.business_key,
                 finding.standing, short_time(finding.since), finding.row == 0 ? "" : std::to_string(finding.row),
                 finding.letter == 0 ? "" : std::to_string(finding.letter)});
    }
    std::cout << table.str();
    for (const auto& [kind, count] : shown_) {
      std::cout << grouped(count) << " " << to_string(kind)
                << (count > flags_.limit ? ", of which " + grouped(flags_.limit) + " are shown" : std::string())
                << '\n';
    }
    if (report_.is_cut) say("warning: there are more; what is repaired makes room for them");
    if (!flags_.repair && flags_.waive.empty()) say("Next: reconcile run --repair --dry-run");
  }

  int repair(const Letters& tables, const StopOnSignal& signals) {
    std::map<std::pair<Action, Kind>, std::uint64_t> plan;
    std::map<std::string, std::uint64_t> left;
    std::uint64_t count = 0;
    for (const Finding& finding : findings_) {
      const Action action = action_of(finding);
      if (action != Action::none) {
        ++plan[{action, finding.kind}];
        ++count;
      } else if (flags_.repair) {
        ++left[std::string(to_string(finding.kind)) + ": " + std::string(reconcile::why_not(finding))];
      }
    }
    if (!globals_.json) {
      std::cout << "\nPlan:\n";
      for (const auto& [what, times] : plan) {
        std::cout << "  " << to_string(what.first) << " " << grouped(times) << " " << to_string(what.second) << '\n';
      }
      for (const auto& [why, times] : left) std::cout << "  leave " << grouped(times) << " " << why << '\n';
    }
    if (flags_.dry_run || count == 0) {
      if (globals_.json) summarise(kUnhealthy);
      return kUnhealthy;
    }
    const std::string name = tables.settings.mysql.schema;
    require_confirmation({.verb = "repair",
                          .doing = "repairing",
                          .things = differences_text(count),
                          .name = name,
                          .what_name = "database",
                          .is_narrowed = flags_.is_narrowed(),
                          .count = count,
                          .yes = flags_.yes,
                          .confirm = flags_.confirm});
    for (const Finding& finding : findings_) {
      const Action action = action_of(finding);
      if (action == Action::none) continue;
      if (signals.signal() != 0) break;
      act(*tables.pool, finding, action);
      if (can_animate() && !globals_.json) show_progress(grouped(done_ + skipped_) + " of " + grouped(count));
    }
    show_progress({});
    if (!globals_.json) {
      std::cout << "Done: " << grouped(done_) << " of " << differences_text(count) << ".\n";
      if (signals.signal() != 0) say("Stopped; give the command again to go on.");
    }
    int code = done_ == count && left.empty() && !report_.is_cut ? kDone : kPartly;
    if (signals.signal() != 0) code = 128 + signals.signal();
    if (globals_.json) summarise(code);
    return code;
  }

  void act(mysql::Pool& pool, const Finding& finding, Action action) {
    reconcile::Repaired repaired;
    try {
      repaired = pool.transact([&](mysql::Transaction& tx) { return repair(tx, finding, action, repair_options_); });
    } catch (const Error& error) {
      // One that can never be repaired must not hold up the others.
      if (error.kind() != ErrorKind::permanent && error.kind() != ErrorKind::transient) throw;
      repaired.outcome = "refused: " + std::string(error.what());
    }
    ++(repaired.is_done ? done_ : skipped_);
    if (globals_.json) {
      Json line = finding_json(finding);
      line["event"] = "repaired";
      line["action"] = to_string(action);
      line["outcome"] = repaired.outcome;
      print_json(line);
    } else if (!repaired.is_done) {
      say(std::string(to_string(finding.kind)) + " " + printable(finding.business_key, 100) + " of " + finding.scope +
          " was left as it is: " + printable(repaired.outcome, 300));
    }
  }

  static reconcile::Repaired repair(mysql::Transaction& tx, const Finding& finding, Action action,
                                    const reconcile::RepairOptions& options) {
    return reconcile::repair(tx, finding, action, options);
  }

  void summarise(int code) const {
    Json found;
    for (int i = 0; i < reconcile::kKinds; ++i) {
      found[std::string(to_string(static_cast<Kind>(i)))] = report_.count(static_cast<Kind>(i));
    }
    Json compared = Json::array();
    for (const reconcile::Compared& one : report_.compared) {
      compared.push_back({{"consumer", one.pair.consumer},
                          {"topic", one.pair.topic},
                          {"compared", one.is_compared},
                          {"sent", one.sent},
                          {"settled", one.settled},
                          {"buckets", one.buckets},
                          {"differing", one.differing}});
    }
    print_json({{"event", "summary"},
                {"exit_code", code},
                {"from", to_json(report_.grid.from)},
                {"until", to_json(report_.grid.until())},
                {"differences", found},
                {"cut", report_.is_cut},
                {"waived", report_.waived},
                {"repaired", done_},
                {"left", skipped_},
                {"compared", compared}});
  }

  const Globals& globals_;
  const ReconcileFlags& flags_;
  reconcile::ReconcileOptions options_;
  reconcile::RepairOptions repair_options_;
  std::vector<Kind> waived_kinds_;
  Report report_;
  std::vector<Finding> findings_;
  std::map<Kind, std::uint64_t> shown_;
  std::uint64_t done_ = 0;
  std::uint64_t skipped_ = 0;
};

struct WaiverFlags {
  std::uint64_t limit = 50;
  std::string key;
  std::string scope;
  std::string reason;
  std::optional<std::string> operator_name = {};
};

int list_waivers(const Globals& globals, const WaiverFlags& flags) {
  const Letters tables(globals);
  const auto found = tables.pool->transact([&](mysql::Transaction& tx) { return reconcile::waivers(tx, flags.limit); });
  Table table({{"DIFFERENCE"},
               {"CONSUMER/RELAY"},
               {"BUSINESS KEY", Table::Align::left, 48},
               {"WAIVED (UTC)"},
               {"BY"},
               {"REASON", Table::Align::left, 100}});
  for (const reconcile::Waiver& one : found) {
    if (globals.json) {
      print_json({{"difference", to_string(one.kind)},
                  {"scope", one.scope},
                  {"business_key", to_json(Bytes(one.business_key))},
                  {"message_id", to_json(Bytes(one.message_id))},
                  {"life", one.life},
                  {"operator", to_json(Bytes(one.operator_name))},
                  {"reason", to_json(Bytes(one.reason))},
                  {"waived_at", to_json(one.waived_at)}});
    }
    table.add({std::string(to_string(one.kind)), one.scope, one.business_key, short_time(one.waived_at),
               one.operator_name, one.reason});
  }
  if (!globals.json) std::cout << table.str();
  if (found.empty()) say("No difference has been waived.");
  return kDone;
}

int take_back(const Globals& globals, const WaiverFlags& flags) {
  const Letters tables(globals);
  const reconcile::RepairOptions options{.operator_name = flags.operator_name.value_or(default_operator()),
                                         .reason = flags.reason};
  const std::uint64_t taken = tables.pool->transact(
      [&](mysql::Transaction& tx) { return reconcile::take_back(tx, flags.scope, flags.key, options); });
  if (globals.json) {
    print_json({{"event", "summary"}, {"exit_code", taken > 0 ? kDone : kNothing}, {"taken_back", taken}});
  } else {
    std::cout << "Taken back: " << grouped(taken) << (taken == 1 ? " waiver.\n" : " waivers.\n");
  }
  return taken > 0 ? kDone : kNothing;
}

void add_audit(CLI::App& verb, std::string& reason, std::optional<std::string>& operator_name) {
  verb.add_option("--reason", reason, "why, for the audit")->type_name("TEXT");
  verb.add_option("--operator", operator_name, "who, for the audit (default: your account)")->type_name("NAME");
}

}  // namespace

reconcile::ReconcileOptions reconcile_options(const config::Settings& settings) {
  reconcile::ReconcileOptions options = settings.reconcile;
  const auto kept = std::min(settings.retention.marks, settings.retention.outbox);
  options.span = std::min(options.span, std::max<std::chrono::seconds>(kept - kMargin, std::chrono::minutes(1)));
  return options;
}

reconcile::ReconcileOptions options_of(const config::Settings& settings, const ReconcileFlags& flags) {
  reconcile::ReconcileOptions options = reconcile_options(settings);
  options.consumers = flags.consumers;
  options.topics = flags.topics;
  options.kinds = kinds_in(flags.only, "--only");
  if (flags.ignore_contents) options.contents = reconcile::Contents::ignored;
  const auto seconds = [](const std::string& text, const char* flag) {
    return std::chrono::ceil<std::chrono::seconds>(config::parse_duration(text, flag));
  };
  if (flags.sla) options.sla = seconds(*flags.sla, "--sla");
  if (flags.span) {
    const auto wanted = seconds(*flags.span, "--span");
    if (wanted > options.span) {
      say("warning: only the last " + short_duration(options.span) +
          " can be compared: both sides are kept for no longer ([retention] marks, outbox; [reconcile] span)");
    }
    options.span = std::min(options.span, wanted);
  }
  if (options.span < options.sla + std::chrono::minutes(2)) {
    throw UsageError("nothing can be compared: it looks back " + short_duration(options.span) + ", and messages have " +
                     short_duration(options.sla) + " to be settled (--sla, --span)");
  }
  return options;
}

void tell_compared(const reconcile::Report& report) {
  say("Compared " + short_time(report.grid.from) + " to " + short_time(report.grid.until()) + ":");
  for (const reconcile::Compared& one : report.compared) {
    if (one.is_compared) {
      say("  " + one.pair.consumer + " with topic " + one.pair.topic + ": " + grouped(one.sent) + " sent, " +
          grouped(one.settled) + " settled; " + grouped(one.differing) + " of " + grouped(one.buckets) +
          " buckets differ");
    } else if (one.pair.consumer.empty()) {
      say("  topic " + one.pair.topic + ": " + grouped(one.sent) +
          " sent, and no consumer here has any of them; name it in [reconcile] pairs if one should, or `reconcile "
          "export` for another database");
    } else {
      say("  " + one.pair.consumer + " with topic " + one.pair.topic + ": " + grouped(one.settled) +
          " settled, none sent from this database; `reconcile export` there, `reconcile compare` here");
    }
  }
  if (report.waived > 0) say("  " + differences_text(report.waived) + " waived (`reconcile waived`)");
}

int run_reconcile(const Globals& globals, const ReconcileFlags& flags) { return Run(globals, flags).perform(); }

Json finding_json(const Finding& finding) {
  return {{"event", "difference"},
          {"difference", to_string(finding.kind)},
          {"scope", finding.scope},
          {"topic", finding.topic},
          {"business_key", to_json(Bytes(finding.business_key))},
          {"message_id", to_json(Bytes(finding.message_id))},
          {"event_time", to_json(finding.event_time)},
          {"since", to_json(finding.since)},
          {"standing", finding.standing},
          {"row", finding.row == 0 ? Json() : Json(finding.row)},
          {"letter", finding.letter == 0 ? Json() : Json(finding.letter)}};
}

void add_selection(CLI::App& verb, ReconcileFlags& flags) {
  const std::string group = "Selection (all must match)";
  verb.add_option("--consumer", flags.consumers, "only this consumer; may be given several times")
      ->type_name("NAME")
      ->allow_extra_args(false)
      ->group(group);
  verb.add_option("--topic", flags.topics, "only messages of this topic; may be given several times")
      ->type_name("TOPIC")
      ->allow_extra_args(false)
      ->group(group);
  verb.add_option("--only", flags.only, "only these differences, with commas")
      ->type_name("KINDS")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->group(group);
  verb.add_option("--sla", flags.sla, "how long a message may take to be settled (default 15m)")
      ->type_name("DURATION")
      ->group(group);
  verb.add_option("--span", flags.span, "how far back to look (default: as far as both sides are kept)")
      ->type_name("DURATION")
      ->group(group);
  verb.add_flag("--ignore-contents", flags.ignore_contents,
                "compare keys only: for consumers that hash only some fields (conflict_fields)");
}

void add_repair(CLI::App& verb, ReconcileFlags& flags) {
  verb.add_option("--limit", flags.limit, "show at most so many of each kind (default 20)")->type_name("N");
  verb.add_flag("--repair", flags.repair, "send again, replay or close what differs, after asking");
  verb.add_option("--waive", flags.waive, "accept these differences, with commas, or all; needs --reason")
      ->type_name("KINDS")
      ->delimiter(',')
      ->allow_extra_args(false);
  verb.add_flag("--dry-run", flags.dry_run, "show the plan, and do nothing");
  add_audit(verb, flags.reason, flags.operator_name);
  verb.add_flag("-y,--yes", flags.yes, "do not ask; enough when something narrows the selection");
  verb.add_option("--confirm", flags.confirm, "do not ask, also for everything in this database")
      ->type_name("DATABASE");
  verb.add_flag("-v,--verbose", flags.verbose, "say what was compared, also when nothing differs");
}

void add_reconcile_verbs(CLI::App& parent, Program& program) {
  CLI::App& verb = add_verb(
      parent, "run", "compare what was sent with what was done; says nothing, and exits with 0, when nothing differs",
      "  reconcile run\n"
      "  reconcile run --consumer shipping --topic orders --sla 1h\n"
      "  reconcile run --only dead,unsettled --json\n"
      "  reconcile run --repair --dry-run\n"
      "  reconcile run --only unsettled --repair --yes --reason 'broker lost its disk'\n"
      "  reconcile run --only unexpected --waive unexpected --yes --reason 'made by hand, ticket 812'\n"
      "\nDifferences: unsent, unsettled, unexpected (settled without an outbox row), dead, replayed (and not settled\n"
      "since), conflict (same business key, other contents). Exit code 4: there are some; 3: repaired in part.");
  auto flags = std::make_shared<ReconcileFlags>();
  add_selection(verb, *flags);
  add_repair(verb, *flags);
  on_chosen(verb, program, std::move(flags), run_reconcile);
  add_exchange_verbs(parent, program);

  CLI::App& waived =
      add_verb(parent, "waived", "differences that were accepted, and by whom", "  reconcile waived --json");
  auto listed = std::make_shared<WaiverFlags>();
  waived.add_option("--limit", listed->limit, "at most so many (default 50)")->type_name("N");
  on_chosen(waived, program, std::move(listed), list_waivers);

  CLI::App& back = add_verb(parent, "take-back", "report a waived difference again",
                            "  reconcile take-back --consumer shipping order-7 --reason 'it was lost after all'");
  auto taken = std::make_shared<WaiverFlags>();
  back.add_option("KEY", taken->key, "business key")->required();
  back.add_option("--consumer", taken->scope, "its consumer; of an unsent row the relay")
      ->type_name("NAME")
      ->required();
  add_audit(back, taken->reason, taken->operator_name);
  on_chosen(back, program, std::move(taken), take_back);
}

}  // namespace oncemark::tools
