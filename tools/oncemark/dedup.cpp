// dedup reset: a consumer forgets that messages are done, so that they take effect once more when they come again.
#include <iostream>
#include <sstream>

#include <oncemark/dead_letter/waiting.hpp>
#include <oncemark/observe/log.hpp>

#include "confirm.hpp"
#include "dlq.hpp"
#include "messages.hpp"
#include "payload_edit.hpp"

namespace oncemark::tools {
namespace {

struct ResetFlags {
  std::string consumer;
  std::vector<std::string> keys = {};
  std::optional<std::string> keys_from = {};
  std::string reason = {};
  std::optional<std::string> operator_name = {};
  std::optional<std::string> confirm = {};
  bool dry_run = false;
};

std::vector<std::string> keys_of(const ResetFlags& flags) {
  std::vector<std::string> keys = flags.keys;
  if (flags.keys_from) {
    std::istringstream lines(read_whole(*flags.keys_from));
    for (std::string line; std::getline(lines, line);) {
      if (!line.empty()) keys.push_back(line);
    }
  }
  if (keys.empty()) throw UsageError("reset needs keys, or --keys-from FILE");
  return keys;
}

std::string state_of(mysql::Transaction& tx, const std::string& consumer, const std::string& key) {
  const auto row =
      tx.query_row("SELECT state FROM consumed_message WHERE consumer = ? AND message_key = ?", consumer, key);
  return row ? row->get<std::string>(0) : "no state row";
}

void tell(const Globals& globals, const std::string& key, const std::string& outcome) {
  if (globals.json) {
    print_json({{"event", "message"}, {"business_key", to_json(Bytes(key))}, {"outcome", outcome}});
  } else {
    std::cout << printable(key, 512) << ": " << outcome << '\n';
  }
}

int reset(const Globals& globals, const ResetFlags& flags) {
  const std::vector<std::string> keys = keys_of(flags);
  const Letters letters(globals);
  if (flags.dry_run) {
    for (const std::string& key : keys) {
      const std::string state =
          letters.pool->transact([&](mysql::Transaction& tx) { return state_of(tx, flags.consumer, key); });
      tell(globals, key, state == "done" || state == "discarded" ? "would be forgotten" : "skipped:" + state);
    }
    return kDone;
  }
  // Their effects happen twice: the consumer's name is always asked for.
  require_confirmation({.verb = "forget",
                        .doing = "forgetting",
                        .things = grouped(keys.size()) + (keys.size() == 1 ? " message" : " messages"),
                        .name = flags.consumer,
                        .what_name = "consumer",
                        .is_narrowed = false,
                        .count = keys.size(),
                        .confirm = flags.confirm});
  const dead_letter::Hand hand{.operator_name = flags.operator_name.value_or(default_operator()),
                               .reason = flags.reason};
  std::uint64_t done = 0;
  for (const std::string& key : keys) {
    const dead_letter::Handled handled = letters.pool->transact(
        [&](mysql::Transaction& tx) { return dead_letter::forget(tx, flags.consumer, key, hand); });
    if (handled.is_done) ++done;
    tell(globals, key, handled.outcome);
  }
  if (!globals.json && done > 0) {
    say("Where hints are used (docs/redis.md), send them again after 5 s (epoch_interval).");
  }
  return say_done(globals, "Forgotten", grouped(keys.size()) + (keys.size() == 1 ? " message" : " messages"),
                  keys.size(), done);
}

}  // namespace

void add_dedup_verbs(CLI::App& parent, Program& program) {
  CLI::App& verb = add_verb(
      parent, "reset", "forget that messages are done or discarded: the next record of each takes effect again",
      "  oncemark dedup reset o-42 --consumer shipping --dry-run\n"
      "  oncemark dedup reset --keys-from keys.txt --consumer shipping --reason 'restored' --confirm=shipping\n"
      "\nIt sends nothing. What is retrying, parked or dead stays: replay it, or skip it.");
  auto flags = std::make_shared<ResetFlags>();
  verb.add_option("KEY", flags->keys, "business keys");
  verb.add_option("--keys-from", flags->keys_from, "one key a line; - is standard input")->type_name("FILE");
  verb.add_option("--consumer", flags->consumer, "of this consumer")->type_name("NAME")->required();
  verb.add_flag("-n,--dry-run", flags->dry_run, "say what would be done, and do nothing");
  verb.add_option("--reason", flags->reason, "why, for the audit")->type_name("TEXT");
  verb.add_option("--operator", flags->operator_name, "who, for the audit (default: your account)")->type_name("NAME");
  verb.add_option("--confirm", flags->confirm, "do not ask")->type_name("CONSUMER");
  on_chosen(verb, program, std::move(flags), reset);
}

}  // namespace oncemark::tools
