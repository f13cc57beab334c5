#include <cmath>
#include <iostream>

#include <oncemark/ledger/transitions.hpp>
#include <oncemark/observe/log.hpp>

#include "dlq.hpp"
#include "messages.hpp"
#include "selection.hpp"
#include "topic_letters.hpp"

namespace oncemark::tools {
namespace {

using dead_letter::Letter;
using dead_letter::LetterTopic;
using std::chrono::duration_cast;
using std::chrono::milliseconds;

// ---- topics ----

struct TopicsFlags {};

std::string age(Time then, Time now) { return short_duration(duration_cast<milliseconds>(now - then)); }

int show_topics(const Globals& globals, const TopicsFlags&) {
  const Letters letters(globals);
  const auto [topics, now] = letters.pool->transact(
      [](mysql::Transaction& tx) { return std::pair(dead_letter::letter_topics(tx), ledger::database_now(tx)); });
  Table table({{"CONSUMER"},
               {"TOPIC"},
               {"DLQ TOPIC"},
               {"DEAD", Table::Align::right},
               {"REPLAYING", Table::Align::right},
               {"OTHER", Table::Align::right},
               {"OLDEST", Table::Align::right},
               {"TOP ERROR"}});
  for (const LetterTopic& topic : topics) {
    if (globals.json) {
      print_json({{"consumer", topic.consumer},
                  {"topic", topic.origin_topic},
                  {"dlq_topic", topic.dlq_topic},
                  {"dead", topic.dead},
                  {"replaying", topic.replaying},
                  {"other", topic.other},
                  {"oldest", topic.oldest ? to_json(*topic.oldest) : Json()},
                  {"top_error", topic.dead > 0 ? to_json(Bytes(topic.top_error)) : Json()},
                  {"top_error_count", topic.top_error_count}});
      continue;
    }
    std::string error = "-";
    if (topic.dead > 0 && topic.top_error_count > 0) {
      error = topic.top_error + " (" +
              std::to_string(
                  std::lround(100.0 * static_cast<double>(topic.top_error_count) / static_cast<double>(topic.dead))) +
              "%)";
    }
    table.add({topic.consumer, topic.origin_topic, topic.dlq_topic, grouped(topic.dead), grouped(topic.replaying),
               grouped(topic.other), topic.oldest ? age(*topic.oldest, now) : "-", error});
  }
  if (!globals.json) std::cout << table.str();
  if (topics.empty()) say("No dead letters.");
  return kDone;
}

// ---- list ----

struct ListFlags {
  SelectionFlags selection;
  FromTopicFlags from;
  std::string state = "dead";
  std::uint64_t before = 0;
};

/// The newest `limit` that the filter accepts.
std::vector<Letter> newest(mysql::Transaction& tx, dead_letter::Selection selection,
                           const dead_letter::LetterFilter& filter, std::uint64_t limit) {
  constexpr auto kNewestFirst = dead_letter::Order::newest_first;
  if (!filter.accepts)
    return dead_letter::find_letters(tx, selection, limit, dead_letter::Detail::summary, kNewestFirst);
  constexpr std::size_t kPage = 50;
  std::vector<Letter> accepted;
  for (;;) {
    auto page = dead_letter::find_letters(tx, selection, kPage, filter.needs, kNewestFirst);
    for (Letter& letter : page) {
      if (accepted.size() == limit) return accepted;
      selection.last_id = letter.id - 1;
      if (!filter.accepts(letter)) continue;
      letter.message.payload = Bytes();  // not shown, and may be large
      letter.message.headers = {};
      accepted.push_back(std::move(letter));
    }
    if (page.size() < kPage) return accepted;
  }
}

int list_letters(const Globals& globals, const ListFlags& flags) {
  const std::uint64_t limit = flags.selection.limit.value_or(50);
  if (limit == 0 || limit > 100'000) throw UsageError("--limit must be from 1 to 100000");
  std::optional<dead_letter::LetterState> state;
  if (flags.state != "any") state = dead_letter::parse_letter_state(flags.state);
  (void)flags.selection.selection(Time{});  // complains before the database is asked
  (void)flags.selection.filter();
  if (flags.from.is_set()) {
    if (flags.selection.consumer || flags.selection.is_narrowed_besides_limit()) {
      throw UsageError("with --from-topic only --partition and --limit select");
    }
    return list_of_topic(globals, flags.from, limit);
  }

  const Letters letters(globals);
  const auto found = letters.pool->transact([&](mysql::Transaction& tx) {
    dead_letter::Selection selection = flags.selection.selection(ledger::database_now(tx));
    selection.state = state;
    if (flags.before > 0) selection.last_id = flags.before - 1;
    return newest(tx, selection, flags.selection.filter(), limit);
  });
  Table table({{"ID", Table::Align::right},
               {"STATE"},
               {"CONSUMER"},
               {"MESSAGE ID", Table::Align::left, 48},
               {"RECORD"},
               {"LIFE", Table::Align::right},
               {"ATTEMPTS", Table::Align::right},
               {"DIED AT"},
               {"FINGERPRINT"},
               {"ERROR", Table::Align::left, 100}});
  for (const Letter& letter : found) {
    if (globals.json) print_json(letter_json(letter));
    table.add({std::to_string(letter.id), std::string(to_string(letter.state)), letter.consumer, letter.message.id,
               letter.message.origin.str(), std::to_string(letter.message.life), std::to_string(letter.attempts),
               short_time(letter.died_at), letter.fingerprint, letter.error_class + ": " + letter.error_text});
  }
  if (!globals.json) std::cout << table.str();
  if (found.empty()) {
    say("No letters match.");
  } else if (found.size() == limit) {
    say("Older ones: the same with --before " + std::to_string(found.back().id));
  }
  return kDone;
}

// ---- groups ----

struct GroupsFlags {
  SelectionFlags selection;
  std::string state = "dead";
};

int show_groups(const Globals& globals, const GroupsFlags& flags) {
  const std::uint64_t limit = flags.selection.limit.value_or(20);
  if (limit == 0 || limit > 10'000) throw UsageError("--limit must be from 1 to 10000");
  std::optional<dead_letter::LetterState> state;
  if (flags.state != "any") state = dead_letter::parse_letter_state(flags.state);
  (void)flags.selection.selection(Time{});
  const dead_letter::LetterFilter filter = flags.selection.filter();
  const Letters letters(globals);
  dead_letter::Selection selection = flags.selection.selection(
      letters.pool->transact([](mysql::Transaction& tx) { return ledger::database_now(tx); }));
  selection.state = state;
  const auto groups = dead_letter::letter_groups(*letters.pool, selection, filter, limit);
  Table table({{"FINGERPRINT"},
               {"LETTERS", Table::Align::right},
               {"FIRST"},
               {"LAST"},
               {"ERROR CLASS", Table::Align::left, 40},
               {"NEWEST ERROR", Table::Align::left, 100}});
  for (const dead_letter::LetterGroup& group : groups) {
    if (globals.json) print_json(group_json(group));
    table.add({group.fingerprint, grouped(group.letters), short_time(group.first_died_at),
               short_time(group.last_died_at), group.error_class, group.error_text});
  }
  if (!globals.json) std::cout << table.str() << std::flush;
  if (groups.empty()) say("No letters match.");
  if (!groups.empty() && groups.size() == limit) say("There may be more groups: --limit");
  if (!groups.empty() && flags.selection.consumer) {
    say("Next: dlq-replay run --consumer " + printable(*flags.selection.consumer) + " --fingerprint " +
        groups.front().fingerprint + " --dry-run");
  }
  return kDone;
}

}  // namespace

void add_topics_verb(CLI::App& parent, Program& program) {
  CLI::App& verb = add_verb(parent, "topics", "how many letters there are, by consumer and topic",
                            "  dlq-replay topics\n  dlq-replay topics --json | jq 'select(.dead > 0)'");
  on_chosen(verb, program, std::make_shared<TopicsFlags>(), show_topics);
}

void add_list_verb(CLI::App& parent, Program& program) {
  CLI::App& verb = add_verb(parent, "list", "letters, the newest first",
                            "  dlq-replay list --consumer shipping --since 2h\n"
                            "  dlq-replay list --fingerprint 9f2c --limit 200\n"
                            "  dlq-replay list --state any --message-id o-42\n"
                            "  dlq-replay list --from-topic orders-dlt   # a topic that others wrote");
  auto flags = std::make_shared<ListFlags>();
  flags->selection.add_to(verb);
  flags->from.add_to(verb);
  verb.add_option("--state", flags->state, "dead (default), replaying, replayed, resolved, archived, discarded, or any")
      ->type_name("STATE");
  verb.add_option("--limit", flags->selection.limit, "at most so many (default 50)")->type_name("N");
  verb.add_option("--before", flags->before, "only those with a lower letter id: the next page")->type_name("ID");
  on_chosen(verb, program, std::move(flags), list_letters);
}

void add_groups_verb(CLI::App& parent, Program& program) {
  CLI::App& verb = add_verb(parent, "groups", "letters that failed alike, the largest group first",
                            "  dlq-replay groups --consumer shipping\n"
                            "  dlq-replay groups --since 2h --json | jq -r .fingerprint");
  auto flags = std::make_shared<GroupsFlags>();
  flags->selection.add_to(verb);
  verb.add_option("--state", flags->state, "dead (default), replaying, replayed, resolved, archived, discarded, or any")
      ->type_name("STATE");
  verb.add_option("--limit", flags->selection.limit, "at most so many groups (default 20)")->type_name("N");
  on_chosen(verb, program, std::move(flags), show_groups);
}

}  // namespace oncemark::tools
