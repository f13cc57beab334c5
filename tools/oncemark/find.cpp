// oncemark find: where a message is, by its business key or its message id.
#include <iostream>
#include <set>

#include <oncemark/observe/log.hpp>

#include "dlq.hpp"
#include "messages.hpp"
#include "output.hpp"

namespace oncemark::tools {
namespace {

constexpr std::size_t kMost = 100;  // of each kind

struct FindFlags {
  std::string key;
  std::optional<std::string> consumer = {};
  bool fail_if_empty = false;
};

/// Everything that our tables say about one key, one read after the other.
class Search {
 public:
  Search(const Globals& globals, const FindFlags& flags, mysql::Transaction& tx)
      : globals_(globals), flags_(flags), tx_(tx), key_(flags.key) {}

  /// How many rows there were.
  std::size_t look() {
    ids_.insert(key_);
    const auto sent =
        tx_.query_row("SELECT business_key FROM outbox_message WHERE message_id = ? AND purpose = ''", key_);
    if (sent && !sent->is_null(0)) key_ = sent->get<std::string>(0);  // it was asked for by its message id
    for (const std::string& consumer : consumers()) {
      states(consumer);
      waiting(consumer);
      parked(consumer);
      letters(consumer);
    }
    outbox();
    audits();
    return found_;
  }

 private:
  std::vector<std::string> consumers() {
    if (flags_.consumer) return {*flags_.consumer};
    std::vector<std::string> names;
    for (std::string last;; last = names.back()) {  // from name to name by the index
      const auto next = tx_.query_row("SELECT MIN(consumer) FROM consumed_message WHERE consumer > ?", last)
                            ->get<std::optional<std::string>>(0);
      if (!next) return names;
      names.push_back(*next);
    }
  }

  /// One row as an event, or as a line: "shipping: state done since …".
  void tell(const std::string& kind, const std::string& owner, const std::string& text, const Json& fields) {
    ++found_;
    if (globals_.json) {
      Json line{{"event", kind}};
      line.update(fields);
      print_json(line);
      return;
    }
    std::cout << kind << std::string(kind.size() < 8 ? 8 - kind.size() : 1, ' ') << printable(owner, 100) << ": "
              << printable(text, 600) << '\n';
  }

  void states(const std::string& consumer) {
    const auto row = tx_.query_row(
        "SELECT state, life, attempt, message_id, origin_topic, origin_partition, origin_offset, event_time, "
        "consumed_at "
        "FROM consumed_message WHERE consumer = ? AND message_key = ?",
        consumer, key_);
    if (!row) return;
    ids_.insert(row->get<std::string>(3));
    const std::string origin = row->get<std::string>(4) + "/" + std::to_string(row->get<int>(5)) + " offset " +
                               std::to_string(row->get<std::int64_t>(6));
    tell("state", consumer,
         row->get<std::string>(0) + " since " + short_time(row->get<Time>(8)) + ", life " +
             std::to_string(row->get<std::uint32_t>(1)) + ", attempt " + std::to_string(row->get<std::uint32_t>(2)) +
             ", message " + row->get<std::string>(3) + ", from " + origin,
         {{"consumer", consumer},
          {"business_key", to_json(Bytes(key_))},
          {"state", row->get<std::string>(0)},
          {"life", row->get<std::uint32_t>(1)},
          {"attempt", row->get<std::uint32_t>(2)},
          {"message_id", to_json(Bytes(row->get<std::string>(3)))},
          {"topic", row->get<std::string>(4)},
          {"partition", row->get<int>(5)},
          {"offset", row->get<std::int64_t>(6)},
          {"event_time", to_json(row->get<Time>(7))},
          {"since", to_json(row->get<Time>(8))}});
  }

  void waiting(const std::string& consumer) {
    const auto row = tx_.query_row(
        "SELECT due_at, last_error_class, last_error, first_failed_at FROM failed_message WHERE consumer = ? AND "
        "message_key = ?",
        consumer, key_);
    if (!row) return;
    tell("retry", consumer,
         "due " + short_time(row->get<Time>(0)) + ", first failed " + short_time(row->get<Time>(3)) + ", last with " +
             row->get<std::string>(1) + ": " + row->get<std::string>(2),
         {{"consumer", consumer},
          {"due_at", to_json(row->get<Time>(0))},
          {"first_failed_at", to_json(row->get<Time>(3))},
          {"error_class", to_json(Bytes(row->get<std::string>(1)))},
          {"error", to_json(Bytes(row->get<std::string>(2)))}});
  }

  void parked(const std::string& consumer) {
    const auto row = tx_.query_row(
        "SELECT p.order_key, p.seq, k.depth, k.due_at, k.head_key = p.message_key FROM parked_message p JOIN "
        "parked_key k "
        "ON k.consumer = p.consumer AND k.order_key = p.order_key WHERE p.consumer = ? AND p.message_key = ?",
        consumer, key_);
    if (!row) return;
    const auto due = row->get<std::optional<Time>>(3);
    tell("parked", consumer,
         std::string(row->get<bool>(4) ? "head" : "behind the head") + " of " +
             std::to_string(row->get<std::uint32_t>(2)) + " messages of key " + row->get<std::string>(0) +
             (due ? ", tried next at " + short_time(*due) : std::string(", which is stopped by a dead one")),
         {{"consumer", consumer},
          {"order_key", to_json(Bytes(row->get<std::string>(0)))},
          {"seq", row->get<std::uint64_t>(1)},
          {"depth", row->get<std::uint32_t>(2)},
          {"due_at", due ? to_json(*due) : Json()},
          {"is_head", row->get<bool>(4)}});
  }

  void letters(const std::string& consumer) {
    for (const mysql::Row& row : tx_.query(
             "SELECT id, state, life, message_id, died_at, error_class, error_text FROM dead_letter WHERE consumer = ? "
             "AND identity = ? ORDER BY life LIMIT ?",
             consumer, key_, kMost)) {
      ids_.insert(row.get<std::string>(3));
      tell("letter", consumer,
           std::to_string(row.get<std::uint64_t>(0)) + " " + row.get<std::string>(1) + ", died " +
               short_time(row.get<Time>(4)) + " in life " + std::to_string(row.get<std::uint32_t>(2)) + " of " +
               row.get<std::string>(5) + ": " + row.get<std::string>(6),
           {{"consumer", consumer},
            {"letter", row.get<std::uint64_t>(0)},
            {"state", row.get<std::string>(1)},
            {"life", row.get<std::uint32_t>(2)},
            {"died_at", to_json(row.get<Time>(4))},
            {"error_class", to_json(Bytes(row.get<std::string>(5)))},
            {"error", to_json(Bytes(row.get<std::string>(6)))}});
    }
  }

  void outbox() {
    constexpr std::string_view kColumns =
        "SELECT id, message_id, purpose, relay, topic, status, created_at, available_at, CASE WHEN status = 'sent' "
        "THEN "
        "sent_at END, attempts, COALESCE(last_error, '') FROM outbox_message WHERE ";
    mysql::Rows rows;
    for (const std::string& id : ids_) {
      for (mysql::Row& row : tx_.query(std::string(kColumns) + "message_id = ? ORDER BY id LIMIT ?", id, kMost)) {
        rows.push_back(std::move(row));
      }
    }
    if (rows.empty()) {  // no index has the business key: this may take seconds
      rows = tx_.query(std::string(kColumns) + "business_key = ? ORDER BY id LIMIT ?", key_, kMost);
    }
    for (const mysql::Row& row : rows) {
      const auto sent_at = row.get<std::optional<Time>>(8);
      const std::string purpose = row.get<std::string>(2);
      std::string text = "row " + std::to_string(row.get<std::uint64_t>(0)) + " " + row.get<std::string>(5) +
                         (sent_at ? " " + short_time(*sent_at) : ", due " + short_time(row.get<Time>(7))) + ", to " +
                         row.get<std::string>(4) + (purpose.empty() ? "" : ", " + purpose) + ", message " +
                         row.get<std::string>(1);
      if (const auto error = row.get<std::string>(10); !error.empty()) text += ", refused: " + error;
      tell("outbox", row.get<std::string>(3), text,
           {{"relay", row.get<std::string>(3)},
            {"row", row.get<std::uint64_t>(0)},
            {"message_id", to_json(Bytes(row.get<std::string>(1)))},
            {"purpose", purpose},
            {"topic", row.get<std::string>(4)},
            {"status", row.get<std::string>(5)},
            {"created_at", to_json(row.get<Time>(6))},
            {"available_at", to_json(row.get<Time>(7))},
            {"sent_at", sent_at ? to_json(*sent_at) : Json()},
            {"attempts", row.get<std::uint32_t>(9)},
            {"error", to_json(Bytes(row.get<std::string>(10)))}});
    }
  }

  void audits() {
    for (const mysql::Row& row : tx_.query(
             "SELECT at, consumer, action, outcome, operator, reason FROM replay_audit WHERE identity = ? ORDER BY "
             "id LIMIT ?",
             key_, kMost)) {
      if (flags_.consumer && row.get<std::string>(1) != *flags_.consumer) continue;
      tell("audit", row.get<std::string>(1),
           short_time(row.get<Time>(0)) + " " + row.get<std::string>(2) + " by " + row.get<std::string>(4) + ": " +
               row.get<std::string>(3) + (row.get<std::string>(5).empty() ? "" : " (" + row.get<std::string>(5) + ")"),
           {{"at", to_json(row.get<Time>(0))},
            {"scope", row.get<std::string>(1)},
            {"action", row.get<std::string>(2)},
            {"outcome", row.get<std::string>(3)},
            {"operator", to_json(Bytes(row.get<std::string>(4)))},
            {"reason", to_json(Bytes(row.get<std::string>(5)))}});
    }
  }

  const Globals& globals_;
  const FindFlags& flags_;
  mysql::Transaction& tx_;
  std::string key_;  // business key
  std::set<std::string> ids_;
  std::size_t found_ = 0;
};

int find(const Globals& globals, const FindFlags& flags) {
  const Letters tables(globals);
  const std::size_t found =
      tables.pool->transact([&](mysql::Transaction& tx) { return Search(globals, flags, tx).look(); });
  if (found > 0) return kDone;
  if (!globals.json) {
    say("Nothing here knows " + printable(flags.key, 100) +
        ": it was never appended or consumed here, or has been swept (oncemark sweep status).");
  }
  return flags.fail_if_empty ? kNothing : kDone;
}

}  // namespace

void add_find_verb(CLI::App& parent, Program& program) {
  CLI::App& verb =
      add_verb(parent, "find",
               "where a message is: its state by consumer, retry, letters, outbox rows, and what was done by hand",
               "  oncemark find order-7\n"
               "  oncemark find order-7 --consumer shipping --json\n"
               "\nKEY is a business key, or a message id.");
  auto flags = std::make_shared<FindFlags>();
  verb.add_option("KEY", flags->key, "business key or message id")->required();
  verb.add_option("--consumer", flags->consumer, "of this consumer only")->type_name("NAME");
  verb.add_flag("--fail-if-empty", flags->fail_if_empty, "exit code 5 when nothing knows it");
  on_chosen(verb, program, std::move(flags), find);
}

}  // namespace oncemark::tools
