#include <iostream>

#include <oncemark/core/signals.hpp>
#include <oncemark/kafka/admin.hpp>
#include <oncemark/kafka/consumer.hpp>
#include <oncemark/kafka/producer.hpp>
#include <oncemark/observe/log.hpp>
#include <oncemark/transactional/check_back.hpp>
#include <oncemark/transactional/parked.hpp>

#include "confirm.hpp"
#include "dlq.hpp"
#include "messages.hpp"
#include "output.hpp"

namespace oncemark::tools {
namespace {

using transactional::ParkedHalf;
using transactional::SettledBy;

constexpr std::uint64_t kMost = 100'000;  // messages that one command takes

struct HalfFlags {
  std::optional<std::string> sender = {};
  std::optional<std::string> message_id = {};
  std::uint64_t limit = 50;
  std::string reason;
  std::optional<std::string> operator_name = {};
  std::optional<std::string> confirm = {};
  bool dry_run = false;
  bool yes = false;
};

std::string messages_text(std::uint64_t count) { return grouped(count) + (count == 1 ? " message" : " messages"); }

void show(const Globals& globals, const std::vector<ParkedHalf>& found) {
  Table table({{"MESSAGE ID", Table::Align::left, 48},
               {"SENDER"},
               {"TOPIC"},
               {"STATE"},
               {"CHECKS", Table::Align::right},
               {"SINCE"},
               {"WHY", Table::Align::left, 100}});
  for (const ParkedHalf& parked : found) {
    const transactional::HalfMessage& message = parked.message;
    const std::string state = parked.is_committed ? "committed" : "parked";
    if (globals.json) {
      print_json({{"message_id", to_json(Bytes(message.id))},
                  {"sender", parked.sender},
                  {"topic", message.topic},
                  {"key", to_json(message.key)},
                  {"headers", to_json(message.headers)},
                  {"payload", to_json(message.payload)},
                  {"state", state},
                  {"checks", message.checks},
                  {"since", to_json(message.since)},
                  {"parked_at", to_json(parked.parked_at)},
                  {"reason", to_json(Bytes(parked.reason))}});
    }
    table.add({message.id, parked.sender, message.topic, state, std::to_string(message.checks),
               short_time(message.since), parked.reason});
  }
  if (!globals.json) std::cout << table.str();
}

std::vector<ParkedHalf> find(const Letters& tables, const HalfFlags& flags, std::uint64_t limit) {
  return tables.pool->transact(
      [&](mysql::Transaction& tx) { return transactional::find_parked(tx, flags.sender, flags.message_id, limit); });
}

int list(const Globals& globals, const HalfFlags& flags) {
  const Letters tables(globals);
  const std::vector<ParkedHalf> found = find(tables, flags, flags.limit);
  show(globals, found);
  if (found.empty()) say("No half message waits for a person.");
  return kDone;
}

using Deed = bool (*)(mysql::Transaction&, const std::string&, const SettledBy&);

int settle(const Globals& globals, const HalfFlags& flags, const std::string& verb, const std::string& doing,
           Deed deed) {
  const Letters tables(globals);
  const std::vector<ParkedHalf> found = find(tables, flags, kMost);
  if (found.empty()) {
    say("No parked half message matches; nothing to do.");
    return kDone;
  }
  if (flags.dry_run || !flags.yes) show(globals, found);
  if (flags.dry_run) {
    say("Would " + verb + " " + messages_text(found.size()) + ".");
    return kDone;
  }
  require_confirmation({.verb = verb,
                        .doing = doing,
                        .things = messages_text(found.size()),
                        .name = *flags.sender,
                        .what_name = "sender",
                        .is_narrowed = flags.message_id.has_value(),
                        .count = found.size(),
                        .yes = flags.yes,
                        .confirm = flags.confirm});
  const SettledBy hand{.operator_name = flags.operator_name.value_or(default_operator()), .reason = flags.reason};
  std::uint64_t done = 0;
  for (const ParkedHalf& parked : found) {
    const std::string& id = parked.message.id;
    if (tables.pool->transact([&](mysql::Transaction& tx) { return deed(tx, id, hand); })) {
      ++done;
    } else {
      say(printable(id, 100) + " was left as it is: it is settled already, or no message that could be sent");
    }
  }
  return say_done(globals, "Done", messages_text(found.size()), found.size(), done);
}

int commit(const Globals& globals, const HalfFlags& flags) {
  return settle(globals, flags, "commit", "committing", transactional::commit_parked);
}

int drop(const Globals& globals, const HalfFlags& flags) {
  return settle(globals, flags, "drop", "dropping", transactional::drop_parked);
}

int run_check_back(const Globals& globals, const HalfFlags& flags) {
  const StopOnSignal signals;  // before any other thread
  const config::Settings settings = globals.settings();
  const auto pool = open_pool(settings);
  if (!await_database(settings, *pool, signals.token())) return kDone;
  const std::string topic = transactional::half_topic(*flags.sender);
  const std::string& password_file = settings.kafka.password_file;
  kafka::Consumer halves({.brokers = settings.kafka.brokers,
                          .group = topic,
                          .topics = {topic},
                          .properties = settings.kafka.properties,
                          .password_file = password_file});
  kafka::Producer out(settings.kafka);
  transactional::CheckBack checks(
      *pool, halves, out, kafka::Admin(settings.kafka.brokers, settings.kafka.properties, password_file).config(topic),
      {.sender = *flags.sender});
  log(LogLevel::info, "checking half messages",
      {{"topic", topic}, {"mysql", settings.mysql.url}, {"brokers", settings.kafka.brokers}});
  checks.run(signals.token());
  const transactional::CheckBackCounts counts = checks.counts();
  if (globals.json) {
    print_json({{"sender", *flags.sender},
                {"settled", counts.settled},
                {"sent", counts.sent},
                {"rolled_back", counts.rolled_back},
                {"parked", counts.parked}});
  }
  return kDone;
}

void add_selection(CLI::App& verb, HalfFlags& flags, bool needs_sender) {
  const std::string group = "Selection (all must match)";
  CLI::Option* const sender =
      verb.add_option("--sender", flags.sender, "of this sender")->type_name("NAME")->group(group);
  if (needs_sender) sender->required();
  verb.add_option("--message-id", flags.message_id, "with this message id")->type_name("ID")->group(group);
}

void add_deed(CLI::App& parent, Program& program, const std::string& name, const std::string& description,
              const std::string& examples, int (*action)(const Globals&, const HalfFlags&)) {
  CLI::App& verb = add_verb(parent, name, description, examples);
  auto flags = std::make_shared<HalfFlags>();
  add_selection(verb, *flags, /*needs_sender=*/true);
  verb.add_flag("-n,--dry-run", flags->dry_run, "show the messages, and do nothing");
  verb.add_option("--reason", flags->reason, "why, for the audit")->type_name("TEXT");
  verb.add_option("--operator", flags->operator_name, "who, for the audit (default: your account)")->type_name("NAME");
  verb.add_flag("-y,--yes", flags->yes, "do not ask; enough when a message is named");
  verb.add_option("--confirm", flags->confirm, "do not ask, also for all messages of this sender")->type_name("SENDER");
  on_chosen(verb, program, std::move(flags), action);
}

}  // namespace

void add_half_verbs(CLI::App& parent, Program& program) {
  CLI::App& list_verb = add_verb(parent, "list", "half messages that wait for a person, and why",
                                 "  oncemark half list\n"
                                 "  oncemark half list --sender orders --json");
  auto list_flags = std::make_shared<HalfFlags>();
  add_selection(list_verb, *list_flags, /*needs_sender=*/false);
  list_verb.add_option("--limit", list_flags->limit, "at most so many (default 50)")
      ->type_name("N")
      ->check(CLI::Range(std::uint64_t{1}, kMost));
  on_chosen(list_verb, program, std::move(list_flags), list);

  add_deed(parent, program, "commit",
           "their transactions have committed: the check-back sends the messages within seconds",
           "  oncemark half commit --sender orders --message-id m-1 --yes --reason 'order 17 is in the store'", commit);
  add_deed(parent, program, "drop", "their transactions have not: the messages are never sent",
           "  oncemark half drop --sender orders --message-id m-1 --yes --reason 'order 17 was cancelled'", drop);

  CLI::App& run =
      add_verb(parent, "run", "check half messages until SIGINT or SIGTERM",
               "  oncemark half run --sender orders\n"
               "\nFor transactions in this database. Those of another store need a Check, and so a process of\n"
               "yours. Any number of processes may run for one sender.");
  auto run_flags = std::make_shared<HalfFlags>();
  run.add_option("--sender", run_flags->sender, "of this sender: reads half.SENDER")->type_name("NAME")->required();
  run.callback([&program, run_flags] {
    program.chosen = [&program, run_flags] { return run_check_back(program.globals, *run_flags); };
  });
}

}  // namespace oncemark::tools
