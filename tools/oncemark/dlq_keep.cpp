// archive, restore, resolve and purge: what is done to letters without replaying them.
#include <algorithm>
#include <iostream>
#include <span>

#include <oncemark/dead_letter/keeping.hpp>
#include <oncemark/ledger/transitions.hpp>
#include <oncemark/observe/log.hpp>

#include "confirm.hpp"
#include "dlq.hpp"
#include "messages.hpp"
#include "selection.hpp"

namespace oncemark::tools {
namespace {

using dead_letter::Keeping;
using dead_letter::LetterState;

constexpr std::size_t kTogether = 500;  // letters in a transaction

struct KeepFlags {
  Keeping keeping = Keeping::archive;
  SelectionFlags selection;
  std::optional<std::string> state = {};
  std::optional<std::string> operator_name = {};
  std::string reason = {};
  std::optional<std::string> confirm = {};
  bool dry_run = false;
  bool yes = false;
  bool fail_if_empty = false;
};

/// What it works on, where nothing else is said.
LetterState state_of(const KeepFlags& flags) {
  if (flags.state) return dead_letter::parse_letter_state(*flags.state);
  return flags.keeping == Keeping::restore ? LetterState::archived : LetterState::dead;
}

void check(const KeepFlags& flags) {
  (void)flags.selection.selection(Time{});
  (void)flags.selection.filter();
  const std::string verb(to_string(flags.keeping));
  if (!flags.selection.consumer) {
    throw UsageError(verb + " needs --consumer; `dlq-replay topics` shows those that have letters");
  }
  if (flags.keeping != Keeping::purge) return;
  if (!flags.state) throw UsageError("purge needs --state: archived, resolved, replayed or discarded");
  const LetterState state = state_of(flags);
  if (state == LetterState::dead || state == LetterState::replaying) {
    throw UsageError("purge deletes no letters that are " + std::string(to_string(state)) +
                     ": their records would be lost; archive or resolve them first");
  }
}

std::string letters_text(std::uint64_t count) { return grouped(count) + (count == 1 ? " letter" : " letters"); }

int keep(const Globals& globals, const KeepFlags& flags) {
  check(flags);
  const std::string verb(to_string(flags.keeping));
  const Letters letters(globals);
  const Time now = letters.pool->transact([](mysql::Transaction& tx) { return ledger::database_now(tx); });
  dead_letter::Selection selection = flags.selection.selection(now);
  selection.state = state_of(flags);
  const auto ids = dead_letter::select_letters(*letters.pool, selection, flags.selection.filter(),
                                               flags.selection.limit.value_or(UINT64_MAX));
  if (ids.empty()) {
    if (!globals.json) say("No letters match; nothing to do.");
    return flags.fail_if_empty ? kNothing : kDone;
  }
  const std::string things = letters_text(ids.size());
  if (flags.dry_run) {
    if (globals.json) {
      print_json({{"event", "plan"}, {"action", verb}, {"letters", ids.size()}});
    } else {
      std::cout << "Would " << verb << " " << things << " of consumer " << *flags.selection.consumer << ".\n";
    }
    return kDone;
  }
  // What is deleted cannot be brought back: its consumer is always asked for.
  const bool is_severe = flags.keeping == Keeping::purge;
  require_confirmation({.verb = verb,
                        .doing = verb + " of",
                        .things = things,
                        .name = *flags.selection.consumer,
                        .what_name = "consumer",
                        .is_narrowed = flags.selection.is_narrowed() && !is_severe,
                        .count = ids.size(),
                        .yes = flags.yes,
                        .confirm = flags.confirm});
  const dead_letter::Hand hand{.operator_name = flags.operator_name.value_or(default_operator()),
                               .reason = flags.reason};
  std::uint64_t done = 0;
  for (std::span<const std::uint64_t> left(ids); !left.empty();) {
    const auto some = left.first(std::min(kTogether, left.size()));
    done += letters.pool->transact(
        [&](mysql::Transaction& tx) { return dead_letter::keep_letters(tx, some, flags.keeping, hand); });
    left = left.subspan(some.size());
  }
  return say_done(globals, "Done", things, ids.size(), done);
}

CLI::App& add_keep(CLI::App& parent, Program& program, Keeping keeping, const char* description, const char* examples) {
  CLI::App& verb = add_verb(parent, std::string(to_string(keeping)), description, examples);
  auto flags = std::make_shared<KeepFlags>();
  flags->keeping = keeping;
  flags->selection.add_to(verb);
  if (keeping == Keeping::resolve || keeping == Keeping::purge) {
    verb.add_option("--state", flags->state,
                    keeping == Keeping::resolve ? "dead (default) or archived"
                                                : "archived, resolved, replayed or discarded; required")
        ->type_name("STATE")
        ->group("Selection (all must match)");
  }
  verb.add_option("--limit", flags->selection.limit, "at most so many, the oldest first")
      ->type_name("N")
      ->group("Selection (all must match)");
  verb.add_flag("-n,--dry-run", flags->dry_run, "say what would be done, and do nothing");
  verb.add_option("--reason", flags->reason, "why, for the audit")->type_name("TEXT");
  verb.add_option("--operator", flags->operator_name, "who, for the audit (default: your account)")->type_name("NAME");
  verb.add_flag("-y,--yes", flags->yes,
                keeping == Keeping::purge ? "is not enough here: see --confirm"
                                          : "do not ask; enough when something narrows the selection");
  verb.add_option("--confirm", flags->confirm, "do not ask")->type_name("CONSUMER");
  verb.add_flag("--fail-if-empty", flags->fail_if_empty, "exit code 5 when nothing matches");
  on_chosen(verb, program, std::move(flags), keep);
  return verb;
}

}  // namespace

void add_keep_verbs(CLI::App& parent, Program& program) {
  add_keep(parent, program, Keeping::archive, "put letters aside: replays pass them over, until they are restored",
           "  dlq-replay archive --consumer shipping --fingerprint 9f2c --reason 'known, later' --yes");
  add_keep(parent, program, Keeping::restore, "take archived letters back",
           "  dlq-replay restore --consumer shipping --fingerprint 9f2c --yes");
  add_keep(parent, program, Keeping::resolve, "close letters for good, without a replay; their messages stay dead",
           "  dlq-replay resolve --consumer shipping --id 42 --reason 'done by hand' --yes\n"
           "  dlq-replay resolve --consumer shipping --state archived --until 30d --yes");
  add_keep(parent, program, Keeping::purge, "delete letters that are done with, records and all",
           "  dlq-replay purge --consumer shipping --state resolved --until 90d --dry-run\n"
           "  dlq-replay purge --consumer shipping --state resolved --until 90d --confirm=shipping");
}

}  // namespace oncemark::tools
