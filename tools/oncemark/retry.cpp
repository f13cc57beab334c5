#include <functional>
#include <iostream>

#include <oncemark/config/values.hpp>
#include <oncemark/dead_letter/waiting.hpp>
#include <oncemark/ledger/transitions.hpp>
#include <oncemark/observe/log.hpp>

#include "confirm.hpp"
#include "dlq.hpp"
#include "messages.hpp"
#include "output.hpp"

namespace oncemark::tools {
namespace {

using dead_letter::CancelAs;
using dead_letter::Hand;
using dead_letter::Handled;
using dead_letter::Waiting;
using dead_letter::WaitingSelection;

constexpr std::uint64_t kMost = 100'000;  // messages that one command takes

struct RetryFlags {
  std::string consumer;
  std::optional<std::string> key = {};
  std::optional<std::string> error_class = {};
  std::optional<std::string> topic = {};
  std::uint64_t limit = 50;
  std::string in = "0s";
  std::string as = "discarded";
  std::string reason;
  std::optional<std::string> operator_name = {};
  std::optional<std::string> relay = {};
  std::optional<std::string> confirm = {};
  bool dry_run = false;
  bool yes = false;

  [[nodiscard]] WaitingSelection selection() const {
    return {.consumer = consumer, .key = key, .error_class = error_class, .topic = topic};
  }
  [[nodiscard]] Hand hand() const {
    return {.operator_name = operator_name.value_or(default_operator()), .reason = reason};
  }
};

std::string messages_text(std::uint64_t count) { return grouped(count) + (count == 1 ? " message" : " messages"); }

Json waiting_json(const Waiting& message) {
  return {
      {"consumer", message.consumer},
      {"business_key", to_json(Bytes(message.business_key))},
      {"message_id", to_json(Bytes(message.message_id))},
      {"origin",
       {{"topic", message.origin.topic}, {"partition", message.origin.partition}, {"offset", message.origin.offset}}},
      {"life", message.life},
      {"attempt", message.attempt},
      {"due_at", to_json(message.due_at)},
      {"outbox", message.outbox_status},
      {"error", {{"class", to_json(Bytes(message.error_class))}, {"text", to_json(Bytes(message.error_text))}}},
      {"first_failed_at", to_json(message.first_failed_at)},
      {"failed_at", to_json(message.failed_at)}};
}

std::vector<Waiting> find(const Letters& letters, const RetryFlags& flags, std::uint64_t limit) {
  return letters.pool->transact(
      [&](mysql::Transaction& tx) { return dead_letter::find_waiting(tx, flags.selection(), limit); });
}

int list_waiting(const Globals& globals, const RetryFlags& flags) {
  const Letters letters(globals);
  const std::vector<Waiting> found = find(letters, flags, flags.limit);
  Table table({{"KEY", Table::Align::left, 60},
               {"MESSAGE ID", Table::Align::left, 48},
               {"RECORD"},
               {"LIFE", Table::Align::right},
               {"FAILED", Table::Align::right},
               {"DUE AT"},
               {"OUTBOX"},
               {"LAST ERROR", Table::Align::left, 100}});
  for (const Waiting& message : found) {
    if (globals.json) print_json(waiting_json(message));
    table.add({message.business_key, message.message_id, message.origin.str(), std::to_string(message.life),
               std::to_string(message.attempt), short_time(message.due_at), message.outbox_status,
               message.error_class + ": " + message.error_text});
  }
  if (!globals.json) std::cout << table.str();
  if (found.empty()) say("No message of consumer " + printable(flags.consumer, 100) + " waits for a later attempt.");
  return kDone;
}

/// What is done to one message, in its own transaction.
using Deed = std::function<Handled(mysql::Transaction&, const Waiting&)>;

int do_to_each(const Globals& globals, const RetryFlags& flags, const Letters& letters, const std::string& verb,
               const std::string& doing, const Deed& deed) {
  const std::vector<Waiting> found = find(letters, flags, flags.key ? 1 : kMost);
  if (found.empty()) {
    say("No message matches; nothing to do.");
    return kDone;
  }
  if (flags.dry_run) {
    for (const Waiting& message : found) {
      if (globals.json) print_json(waiting_json(message));
    }
    if (!globals.json) std::cout << "Would " << verb << " " << messages_text(found.size()) << ".\n";
    return kDone;
  }
  require_confirmation({.verb = verb,
                        .doing = doing,
                        .things = messages_text(found.size()),
                        .name = flags.consumer,
                        .what_name = "consumer",
                        .is_narrowed = flags.key || flags.error_class || flags.topic,
                        .count = found.size(),
                        .yes = flags.yes,
                        .confirm = flags.confirm});
  std::uint64_t done = 0;
  for (const Waiting& message : found) {
    const Handled handled = letters.pool->transact([&](mysql::Transaction& tx) { return deed(tx, message); });
    if (handled.is_done) ++done;
    if (globals.json) {
      print_json(
          {{"event", "message"}, {"business_key", to_json(Bytes(message.business_key))}, {"outcome", handled.outcome}});
    } else if (!handled.is_done) {
      say(printable(message.business_key, 100) + " " + handled.outcome);
    }
  }
  return say_done(globals, "Done", messages_text(found.size()), found.size(), done);
}

int hasten(const Globals& globals, const RetryFlags& flags) {
  const std::chrono::milliseconds delay = config::parse_duration(flags.in, "--in");
  const Letters letters(globals);
  return do_to_each(globals, flags, letters, "expedite", "expediting",
                    [&](mysql::Transaction& tx, const Waiting& message) {
                      return dead_letter::hasten(tx, message, delay, flags.hand());
                    });
}

int cancel(const Globals& globals, const RetryFlags& flags) {
  if (flags.as != "discarded" && flags.as != "dead") {
    throw UsageError("--as is \"" + printable(flags.as, 40) + "\"; expected discarded or dead");
  }
  const CancelAs as = flags.as == "dead" ? CancelAs::dead : CancelAs::discarded;
  const Letters letters(globals);
  return do_to_each(globals, flags, letters, "cancel", "cancelling",
                    [&](mysql::Transaction& tx, const Waiting& message) {
                      return dead_letter::cancel(tx, message, as, letters.settings.topics,
                                                 flags.relay.value_or(std::string()), flags.hand());
                    });
}

int skip(const Globals& globals, const RetryFlags& flags) {
  const Letters letters(globals);
  const std::string key = flags.key.value_or(std::string());
  require_confirmation({.verb = "skip",
                        .doing = "skipping",
                        .things = "message " + printable(key, 100),
                        .name = flags.consumer,
                        .what_name = "consumer",
                        .is_narrowed = true,
                        .count = 1,
                        .yes = flags.yes,
                        .confirm = flags.confirm});
  const Handled handled = letters.pool->transact(
      [&](mysql::Transaction& tx) { return dead_letter::skip(tx, flags.consumer, key, flags.hand()); });
  if (globals.json) {
    print_json({{"consumer", flags.consumer}, {"business_key", to_json(Bytes(key))}, {"outcome", handled.outcome}});
  } else if (handled.is_done) {
    std::cout << "Skipped: consumer " << flags.consumer << " will not handle " << printable(key, 100) << ".\n";
  } else {
    say("Nothing was done: the message is " + handled.outcome.substr(handled.outcome.find(':') + 1) + " already.");
  }
  return handled.is_done ? kDone : kPartly;
}

void add_selection(CLI::App& verb, RetryFlags& flags) {
  const std::string group = "Selection (all must match)";
  verb.add_option("--consumer", flags.consumer, "of this consumer")->type_name("NAME")->required()->group(group);
  verb.add_option("--key", flags.key, "with this business key")->type_name("KEY")->group(group);
  verb.add_option("--error-class", flags.error_class, "whose last error was of this class")
      ->type_name("CLASS")
      ->group(group);
  verb.add_option("--topic", flags.topic, "that came from this topic")->type_name("TOPIC")->group(group);
}

void add_hand(CLI::App& verb, RetryFlags& flags) {
  verb.add_option("--reason", flags.reason, "why, for the audit")->type_name("TEXT");
  verb.add_option("--operator", flags.operator_name, "who, for the audit (default: your account)")->type_name("NAME");
  verb.add_flag("-y,--yes", flags.yes, "do not ask; enough when something narrows the selection");
  verb.add_option("--confirm", flags.confirm, "do not ask, also for all messages of this consumer")
      ->type_name("CONSUMER");
}

}  // namespace

void add_retry_verbs(CLI::App& parent, Program& program) {
  CLI::App& list = add_verb(parent, "list", "messages that wait for a later attempt, the soonest due first",
                            "  oncemark retry list --consumer shipping\n"
                            "  oncemark retry list --consumer shipping --error-class mysql.1205 --json");
  auto list_flags = std::make_shared<RetryFlags>();
  add_selection(list, *list_flags);
  list.add_option("--limit", list_flags->limit, "at most so many (default 50)")
      ->type_name("N")
      ->check(CLI::Range(std::uint64_t{1}, kMost));
  on_chosen(list, program, std::move(list_flags), list_waiting);

  CLI::App& expedite = add_verb(parent, "expedite", "make the next attempt due sooner",
                                "  oncemark retry expedite --consumer shipping --key o-42 --yes\n"
                                "  oncemark retry expedite --consumer shipping --in 30s --confirm=shipping");
  auto expedite_flags = std::make_shared<RetryFlags>();
  add_selection(expedite, *expedite_flags);
  expedite.add_option("--in", expedite_flags->in, "due so long from now (default: now)")->type_name("DURATION");
  expedite.add_flag("-n,--dry-run", expedite_flags->dry_run, "say what would be done, and do nothing");
  add_hand(expedite, *expedite_flags);
  on_chosen(expedite, program, std::move(expedite_flags), hasten);

  CLI::App& cancel_verb =
      add_verb(parent, "cancel", "give up the attempts that are left",
               "  oncemark retry cancel --consumer shipping --key o-42 --yes --reason 'sent twice'\n"
               "  oncemark retry cancel --consumer shipping --error-class permanent --as dead");
  auto cancel_flags = std::make_shared<RetryFlags>();
  add_selection(cancel_verb, *cancel_flags);
  cancel_verb.add_option("--as", cancel_flags->as, "discarded (default), or dead: a letter that can be replayed")
      ->type_name("STATE");
  cancel_verb
      .add_option("--relay", cancel_flags->relay, "who sends the letters (default: the relay named like the consumer)")
      ->type_name("NAME");
  cancel_verb.add_flag("-n,--dry-run", cancel_flags->dry_run, "say what would be done, and do nothing");
  add_hand(cancel_verb, *cancel_flags);
  on_chosen(cancel_verb, program, std::move(cancel_flags), cancel);
}

void add_skip_verb(CLI::App& parent, Program& program) {
  CLI::App& verb = add_verb(parent, "skip", "never handle this message: before it arrives, or after it failed",
                            "  oncemark skip o-42 --consumer shipping --reason 'cancelled by the customer' --yes");
  auto flags = std::make_shared<RetryFlags>();
  verb.add_option("KEY", flags->key, "business key of the message")->required();
  verb.add_option("--consumer", flags->consumer, "for this consumer")->type_name("NAME")->required();
  add_hand(verb, *flags);
  on_chosen(verb, program, std::move(flags), skip);
}

}  // namespace oncemark::tools
