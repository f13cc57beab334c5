#include <iostream>

#include <oncemark/dead_letter/sequences.hpp>
#include <oncemark/observe/log.hpp>

#include "confirm.hpp"
#include "dlq.hpp"
#include "messages.hpp"
#include "output.hpp"

namespace oncemark::tools {
namespace {

using dead_letter::Hand;
using dead_letter::Handled;
using dead_letter::Parked;
using dead_letter::Sequence;

constexpr std::uint64_t kMost = 100'000;  // sequences, or messages of one, that one command takes

struct ParkedFlags {
  std::string consumer;
  std::optional<std::string> key = {};
  bool stopped = false;
  std::uint64_t limit = 50;
  std::string reason;
  std::optional<std::string> operator_name = {};
  std::optional<std::string> confirm = {};
  bool dry_run = false;
  bool yes = false;

  [[nodiscard]] Hand hand() const {
    return {.operator_name = operator_name.value_or(default_operator()), .reason = reason};
  }
};

std::string keys_text(std::uint64_t count) { return grouped(count) + (count == 1 ? " key" : " keys"); }

std::string state_of(const Sequence& sequence) {
  if (!sequence.due_at) return "stopped";
  return sequence.is_taken ? "running" : "waiting";
}

Json sequence_json(const Sequence& sequence) {
  return {{"consumer", sequence.consumer},
          {"key", to_json(Bytes(sequence.order_key))},
          {"state", state_of(sequence)},
          {"messages", sequence.depth},
          {"due_at", sequence.due_at ? to_json(*sequence.due_at) : Json()},
          {"tries", sequence.tries},
          {"head", to_json(Bytes(sequence.head_key))}};
}

Json parked_json(const ParkedFlags& flags, const Parked& message) {
  return {
      {"consumer", flags.consumer},
      {"key", to_json(Bytes(*flags.key))},
      {"seq", message.seq},
      {"state", message.state},
      {"business_key", to_json(Bytes(message.business_key))},
      {"message_id", to_json(Bytes(message.message_id))},
      {"origin",
       {{"topic", message.origin.topic}, {"partition", message.origin.partition}, {"offset", message.origin.offset}}},
      {"life", message.life},
      {"attempt", message.attempt},
      {"letter", message.letter_id == 0 ? Json() : Json(message.letter_id)},
      {"error", {{"class", to_json(Bytes(message.error_class))}, {"text", to_json(Bytes(message.error_text))}}},
      {"parked_at", to_json(message.parked_at)}};
}

std::vector<Sequence> find(const Letters& letters, const ParkedFlags& flags, bool only_stopped, std::uint64_t limit) {
  return letters.pool->transact([&](mysql::Transaction& tx) {
    return dead_letter::find_sequences(tx, {.consumer = flags.consumer, .key = flags.key, .only_stopped = only_stopped},
                                       limit);
  });
}

void list_messages(const Globals& globals, const Letters& letters, const ParkedFlags& flags) {
  const std::vector<Parked> messages = letters.pool->transact(
      [&](mysql::Transaction& tx) { return dead_letter::find_parked(tx, flags.consumer, *flags.key, flags.limit); });
  Table table({{"SEQ", Table::Align::right},
               {"STATE"},
               {"BUSINESS KEY", Table::Align::left, 60},
               {"RECORD"},
               {"LIFE", Table::Align::right},
               {"FAILED", Table::Align::right},
               {"LETTER", Table::Align::right},
               {"PARKED AT"},
               {"LAST ERROR", Table::Align::left, 100}});
  for (const Parked& message : messages) {
    if (globals.json) print_json(parked_json(flags, message));
    table.add({std::to_string(message.seq), message.state, message.business_key, message.origin.str(),
               std::to_string(message.life), std::to_string(message.attempt),
               message.letter_id == 0 ? "" : std::to_string(message.letter_id), short_time(message.parked_at),
               message.error_class.empty() ? "" : message.error_class + ": " + message.error_text});
  }
  if (!globals.json) std::cout << table.str();
}

int list_parked(const Globals& globals, const ParkedFlags& flags) {
  const Letters letters(globals);
  const std::vector<Sequence> found = find(letters, flags, flags.stopped, flags.limit);
  if (found.empty()) {
    say(std::string("No key of consumer ") + printable(flags.consumer, 100) +
        (flags.stopped ? " is stopped." : " has parked messages."));
    return kDone;
  }
  if (flags.key) {
    list_messages(globals, letters, flags);
    return kDone;
  }
  Table table({{"KEY", Table::Align::left, 60},
               {"STATE"},
               {"MESSAGES", Table::Align::right},
               {"DUE AT"},
               {"HEAD", Table::Align::left, 60}});
  for (const Sequence& sequence : found) {
    if (globals.json) print_json(sequence_json(sequence));
    table.add({sequence.order_key, state_of(sequence), grouped(sequence.depth),
               sequence.due_at ? short_time(*sequence.due_at) : "", sequence.head_key});
  }
  if (!globals.json) std::cout << table.str();
  return kDone;
}

int release(const Globals& globals, const ParkedFlags& flags) {
  const Letters letters(globals);
  const std::vector<Sequence> found = find(letters, flags, /*only_stopped=*/true, kMost);
  if (found.empty()) {
    say("No stopped key matches; nothing to do.");
    return kDone;
  }
  if (flags.dry_run) {
    for (const Sequence& sequence : found) {
      if (globals.json) print_json(sequence_json(sequence));
    }
    if (!globals.json) std::cout << "Would release " << keys_text(found.size()) << ".\n";
    return kDone;
  }
  require_confirmation({.verb = "release",
                        .doing = "releasing",
                        .things = keys_text(found.size()),
                        .name = flags.consumer,
                        .what_name = "consumer",
                        .is_narrowed = flags.key.has_value(),
                        .count = found.size(),
                        .yes = flags.yes,
                        .confirm = flags.confirm});
  std::uint64_t done = 0;
  for (const Sequence& sequence : found) {
    const Handled handled = letters.pool->transact(
        [&](mysql::Transaction& tx) { return dead_letter::release(tx, sequence, flags.hand()); });
    if (handled.is_done) ++done;
    if (globals.json) {
      print_json({{"event", "key"},
                  {"key", to_json(Bytes(sequence.order_key))},
                  {"head", to_json(Bytes(sequence.head_key))},
                  {"outcome", handled.outcome}});
    } else if (!handled.is_done) {
      say(printable(sequence.order_key, 100) + " " + handled.outcome);
    }
  }
  return say_done(globals, "Released", keys_text(found.size()), found.size(), done);
}

void add_selection(CLI::App& verb, ParkedFlags& flags, const std::string& what_key) {
  const std::string group = "Selection (all must match)";
  verb.add_option("--consumer", flags.consumer, "of this consumer")->type_name("NAME")->required()->group(group);
  verb.add_option("--key", flags.key, what_key)->type_name("KEY")->group(group);
}

}  // namespace

void add_parked_verbs(CLI::App& parent, Program& program) {
  CLI::App& list = add_verb(parent, "list", "keys whose messages wait in order behind a failed one",
                            "  oncemark parked list --consumer shipping --stopped\n"
                            "  oncemark parked list --consumer shipping --key acct-0017 --json");
  auto list_flags = std::make_shared<ParkedFlags>();
  add_selection(list, *list_flags, "the messages that wait under this record key");
  list.add_flag("--stopped", list_flags->stopped, "only keys whose first message is dead");
  list.add_option("--limit", list_flags->limit, "at most so many (default 50)")
      ->type_name("N")
      ->check(CLI::Range(std::uint64_t{1}, kMost));
  on_chosen(list, program, std::move(list_flags), list_parked);

  CLI::App& release_verb =
      add_verb(parent, "release", "let stopped keys go on without their dead message, which stays a letter",
               "  oncemark parked release --consumer shipping --key acct-0017 --yes --reason 'closed account'\n"
               "  oncemark parked release --consumer shipping --dry-run\n"
               "\nA later replay of that letter is out of order. To keep the order, replay it first (dlq-replay run):\n"
               "it goes back to work in its place, and everything behind it follows. To give it up: oncemark skip.");
  auto flags = std::make_shared<ParkedFlags>();
  add_selection(release_verb, *flags, "with this record key");
  release_verb.add_flag("-n,--dry-run", flags->dry_run, "say what would be done, and do nothing");
  release_verb.add_option("--reason", flags->reason, "why, for the audit")->type_name("TEXT");
  release_verb.add_option("--operator", flags->operator_name, "who, for the audit (default: your account)")
      ->type_name("NAME");
  release_verb.add_flag("-y,--yes", flags->yes, "do not ask; enough when something narrows the selection");
  release_verb.add_option("--confirm", flags->confirm, "do not ask, also for all keys of this consumer")
      ->type_name("CONSUMER");
  on_chosen(release_verb, program, std::move(flags), release);
}

}  // namespace oncemark::tools
