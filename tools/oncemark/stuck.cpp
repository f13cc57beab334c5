#include "stuck.hpp"

#include <iostream>

#include <oncemark/config/values.hpp>
#include <oncemark/observe/log.hpp>
#include <oncemark/outbox/stuck.hpp>

#include "confirm.hpp"
#include "dlq.hpp"
#include "messages.hpp"
#include "output.hpp"

namespace oncemark::tools {
namespace {

using outbox::StuckRow;

constexpr std::uint64_t kMost = 100'000;  // rows that one command takes

struct StuckFlags {
  std::string relay = std::string(outbox::kMainRelay);
  std::optional<std::uint64_t> id = {};
  std::optional<std::string> message_id = {};
  std::optional<std::string> topic = {};
  std::optional<std::string> older_than = {};
  std::uint64_t limit = 50;
  std::string reason;
  std::optional<std::string> operator_name = {};
  std::optional<std::string> confirm = {};
  bool dead_only = false;
  bool dry_run = false;
  bool yes = false;

  [[nodiscard]] outbox::StuckSelection selection() const {
    outbox::StuckSelection selection{
        .relay = relay, .id = id, .message_id = message_id, .topic = topic, .dead_only = dead_only};
    if (older_than) {
      selection.older_than =
          std::chrono::ceil<std::chrono::seconds>(config::parse_duration(*older_than, "--older-than"));
    }
    return selection;
  }
  [[nodiscard]] bool is_narrowed() const { return id || message_id || topic || older_than; }
};

std::string rows_text(std::uint64_t count) { return grouped(count) + (count == 1 ? " row" : " rows"); }

void show(const Globals& globals, const std::vector<StuckRow>& rows) {
  Table table({{"ROW", Table::Align::right},
               {"MESSAGE ID", Table::Align::left, 48},
               {"TOPIC"},
               {"STATUS"},
               {"REFUSED", Table::Align::right},
               {"APPENDED"},
               {"LAST ERROR", Table::Align::left, 100}});
  for (const StuckRow& row : rows) {
    if (globals.json) {
      print_json({{"row", row.id},
                  {"relay", row.relay},
                  {"message_id", to_json(Bytes(row.message_id))},
                  {"purpose", row.purpose},
                  {"topic", row.topic},
                  {"key", to_json(row.key)},
                  {"status", to_string(row.status)},
                  {"attempts", row.attempts},
                  {"error", to_json(Bytes(row.error))},
                  {"created_at", to_json(row.created_at)},
                  {"available_at", to_json(row.available_at)}});
      continue;
    }
    table.add({std::to_string(row.id), row.message_id, row.topic, std::string(to_string(row.status)),
               std::to_string(row.attempts), short_time(row.created_at), row.error});
  }
  if (!globals.json) std::cout << table.str();
}

std::vector<StuckRow> find(const Letters& tables, const StuckFlags& flags, std::uint64_t limit) {
  const outbox::StuckSelection selection = flags.selection();
  return tables.pool->transact([&](mysql::Transaction& tx) { return outbox::find_stuck(tx, selection, limit); });
}

int list(const Globals& globals, const StuckFlags& flags) {
  const Letters tables(globals);
  const std::vector<StuckRow> found = find(tables, flags, flags.limit);
  show(globals, found);
  if (found.empty()) say("No row of relay " + printable(flags.relay, 100) + " was refused.");
  return kDone;
}

using Deed = bool (*)(mysql::Transaction&, std::uint64_t, const outbox::ByHand&);

int do_to_each(const Globals& globals, const StuckFlags& flags, const std::string& verb, const std::string& doing,
               Deed deed) {
  const Letters tables(globals);
  const std::vector<StuckRow> found = find(tables, flags, kMost);
  if (found.empty()) {
    say("No row matches; nothing to do.");
    return kDone;
  }
  if (flags.dry_run || !flags.yes) show(globals, found);
  if (flags.dry_run) {
    say("Would " + verb + " " + rows_text(found.size()) + ".");
    return kDone;
  }
  require_confirmation({.verb = verb,
                        .doing = doing,
                        .things = rows_text(found.size()),
                        .name = flags.relay,
                        .what_name = "relay",
                        .is_narrowed = flags.is_narrowed(),
                        .count = found.size(),
                        .yes = flags.yes,
                        .confirm = flags.confirm});
  const outbox::ByHand hand{.operator_name = flags.operator_name.value_or(default_operator()), .reason = flags.reason};
  std::uint64_t done = 0;
  for (const StuckRow& row : found) {
    if (tables.pool->transact([&](mysql::Transaction& tx) { return deed(tx, row.id, hand); })) {
      ++done;
    } else {
      say("row " + std::to_string(row.id) + " was left as it is: it is not stuck any more, or a consumer's retry, " +
          "which `oncemark retry cancel` gives up");
    }
  }
  return say_done(globals, "Done", rows_text(found.size()), found.size(), done);
}

int retry(const Globals& globals, const StuckFlags& flags) {
  return do_to_each(globals, flags, "retry", "retrying", outbox::retry_row);
}

int skip(const Globals& globals, const StuckFlags& flags) {
  return do_to_each(globals, flags, "skip", "skipping", outbox::skip_row);
}

void add_selection(CLI::App& verb, StuckFlags& flags) {
  const std::string group = "Selection (all must match)";
  verb.add_option("-n,--name", flags.relay, "rows of this relay (default: main)")->type_name("NAME")->group(group);
  verb.add_option("--id", flags.id, "this row")->type_name("ROW")->group(group);
  verb.add_option("--message-id", flags.message_id, "with this message id")->type_name("ID")->group(group);
  verb.add_option("--topic", flags.topic, "for this topic")->type_name("TOPIC")->group(group);
  verb.add_option("--older-than", flags.older_than, "appended at least so long ago")
      ->type_name("DURATION")
      ->group(group);
  verb.add_flag("--dead", flags.dead_only, "dead rows only")->group(group);
}

void add_deed(CLI::App& parent, Program& program, const std::string& name, const std::string& description,
              const std::string& examples, int (*action)(const Globals&, const StuckFlags&)) {
  CLI::App& verb = add_verb(parent, name, description, examples);
  auto flags = std::make_shared<StuckFlags>();
  add_selection(verb, *flags);
  verb.add_flag("--dry-run", flags->dry_run, "show the rows, and do nothing");
  verb.add_option("--reason", flags->reason, "why, for the audit")->type_name("TEXT");
  verb.add_option("--operator", flags->operator_name, "who, for the audit (default: your account)")->type_name("NAME");
  verb.add_flag("-y,--yes", flags->yes, "do not ask; enough when something narrows the selection");
  verb.add_option("--confirm", flags->confirm, "do not ask, also for all rows of this relay")->type_name("RELAY");
  on_chosen(verb, program, std::move(flags), action);
}

}  // namespace

void add_stuck_verbs(CLI::App& parent, Program& program) {
  CLI::App& verb = add_verb(parent, "list", "rows that the broker refused: failing, or dead",
                            "  outbox-relay list\n"
                            "  outbox-relay list --name shipping --dead --json");
  auto flags = std::make_shared<StuckFlags>();
  add_selection(verb, *flags);
  verb.add_option("--limit", flags->limit, "at most so many (default 50)")
      ->type_name("N")
      ->check(CLI::Range(std::uint64_t{1}, kMost));
  on_chosen(verb, program, std::move(flags), list);

  add_deed(
      parent, program, "retry",
      "try refused rows again, at once and with all their attempts. A dead row may come after later ones of its key",
      "  outbox-relay retry --topic orders --dry-run\n"
      "  outbox-relay retry --id 4711 --yes --reason 'topic made'",
      retry);
  add_deed(parent, program, "skip", "remove refused rows: their messages are never sent",
           "  outbox-relay skip --message-id m-1 --yes --reason 'sent by hand'\n"
           "  outbox-relay skip --dead --older-than 30d --confirm main",
           skip);
}

}  // namespace oncemark::tools
