#include <algorithm>
#include <charconv>
#include <iostream>

#include <oncemark/config/values.hpp>
#include <oncemark/dead_letter/trail.hpp>
#include <oncemark/observe/log.hpp>

#include "dlq.hpp"
#include "messages.hpp"
#include "topic_letters.hpp"

namespace oncemark::tools {
namespace {

using dead_letter::Letter;
using dead_letter::Trail;

struct ShowFlags {
  std::string reference;
  FromTopicFlags from;
  std::string payload_limit = "16KiB";
  bool raw = false;
};

constexpr std::size_t kShownHeader = 512;            // bytes of a header's value
constexpr const char* kIndent = "                ";  // of what belongs to a field

/// A letter id, or the message id of exactly one letter.
Letter find(mysql::Transaction& tx, const std::string& reference) {
  std::uint64_t id = 0;
  const char* const end = reference.data() + reference.size();
  const auto [stopped_at, error] = std::from_chars(reference.data(), end, id);
  if (error == std::errc{} && stopped_at == end) {
    if (auto letter = dead_letter::find_letter(tx, id)) return std::move(*letter);
  }
  const auto found =
      dead_letter::find_letters(tx, {.message_id = reference, .state = std::nullopt}, 20, dead_letter::Detail::summary);
  if (found.empty()) {
    throw UsageError("there is no letter with the id or message id \"" + printable(reference, 100) +
                     "\"; `dlq-replay list --state any` shows what there is");
  }
  if (found.size() > 1) {
    std::string ids;
    for (const Letter& letter : found) ids += (ids.empty() ? "" : ", ") + std::to_string(letter.id);
    throw UsageError("several letters have this message id; show one of " + ids);
  }
  return *dead_letter::find_letter(tx, found.front().id);
}

void print_field(std::string_view name, const std::string& value) {
  std::cout << "  " << name << std::string(name.size() < 14 ? 14 - name.size() : 1, ' ') << value << '\n';
}

}  // namespace

std::string sized(const Bytes& bytes) {
  return bytes.is_null() ? "null" : grouped(bytes.size()) + (bytes.size() == 1 ? " byte" : " bytes");
}

namespace {

void print_letter(const Letter& letter) {
  const Message& message = letter.message;
  std::cout << "Letter " << letter.id << ": " << to_string(letter.state) << '\n';
  print_field("consumer", printable(letter.consumer) + " (group " + printable(letter.group) + ")");
  print_field("message id", printable(message.id));
  if (message.business_key != message.id) print_field("business key", printable(message.business_key, 1'024));
  print_field("life", std::to_string(message.life) + ", given up after " + std::to_string(letter.attempts) +
                          (letter.attempts == 1 ? " attempt" : " attempts"));
  print_field("record", message.origin.str() + ", written " + short_time(message.origin_timestamp));
  print_field("event time", short_time(message.event_time));
  print_field("dlq topic", printable(letter.dlq_topic));
  print_field("first failed", short_time(letter.first_failed_at));
  print_field("died", short_time(letter.died_at));
  const bool has_changed = !letter.first_error_class.empty() && (letter.first_error_class != letter.error_class ||
                                                                 letter.first_error_text != letter.error_text);
  if (has_changed) {
    print_field("first error", printable(letter.first_error_class));
    std::cout << readable(letter.first_error_text, letter.first_error_text.size(), kIndent);
  }
  print_field(has_changed ? "last error" : "error", printable(letter.error_class) + " in " + printable(letter.stage));
  std::cout << readable(letter.error_text, letter.error_text.size(), kIndent);
  print_field("fingerprint", printable(letter.fingerprint));
}

}  // namespace

void print_record(const Bytes& key, const Bytes& payload, const Headers& headers, std::size_t payload_limit) {
  std::cout << "\nHeaders (" << headers.size() << ")\n";
  for (const Header& header : headers) {
    std::string value = header.value.is_null() ? "null" : printable(header.value.view(), kShownHeader);
    if (header.value.size() > kShownHeader) value += " (" + sized(header.value) + ")";
    std::cout << "  " << printable(header.name) << ": " << value << '\n';
  }
  std::cout << "\nKey (" << sized(key) << ")\n" << readable(key, 1'024, "  ");
  std::cout << "\nPayload (" << sized(payload) << ")\n" << readable(payload, payload_limit, "  ");
  if (payload.size() > payload_limit) {
    std::cout << "  (all of it: --payload-limit " << payload.size() << ", or --raw > FILE)\n";
  }
}

namespace {

void print_trail(const Trail& trail) {
  std::cout << "\nThe message now\n";
  if (trail.standing) {
    std::cout << "  " << ledger::to_string(trail.standing->state) << ", life " << trail.standing->life << ", "
              << trail.standing->attempt << " failed in this life, since " << short_time(*trail.standing_since) << '\n';
  } else {
    std::cout << "  no state row: it would be handled as if it were new\n";
  }
  if (!trail.other_lives.empty()) {
    Table table({{"LETTER", Table::Align::right}, {"LIFE", Table::Align::right}, {"STATE"}, {"DIED AT"}, {"ERROR"}});
    for (const Letter& other : trail.other_lives) {
      table.add({std::to_string(other.id), std::to_string(other.message.life), std::string(to_string(other.state)),
                 short_time(other.died_at), other.error_class + ": " + other.error_text});
    }
    std::cout << "\nIts letters of other lives\n" << table.str("  ");
  }
  if (!trail.outbox.empty()) {
    Table table({{"OUTBOX", Table::Align::right},
                 {"PURPOSE", Table::Align::left, 80},
                 {"TOPIC", Table::Align::left, 80},
                 {"RELAY"},
                 {"STATUS"},
                 {"SENT AT"},
                 {"LAST ERROR", Table::Align::left, 100}});
    for (const auto& row : trail.outbox) {
      table.add({std::to_string(row.id), row.purpose.empty() ? "business" : row.purpose, row.topic, row.relay,
                 row.status, row.sent_at ? short_time(*row.sent_at) : "-",
                 row.last_error.empty() ? "-" : row.last_error});
    }
    std::cout << "\nIts rows in the outbox\n" << table.str("  ");
  }
  if (!trail.audits.empty()) {
    Table table({{"AT"}, {"ACTION"}, {"OUTCOME"}, {"JOB", Table::Align::right}, {"OPERATOR"}, {"REASON"}});
    for (const auto& audit : trail.audits) {
      const std::string becomes = audit.new_message_id.empty() ? "" : " as " + audit.new_message_id;
      table.add({short_time(audit.at), audit.action, audit.outcome + becomes,
                 audit.job_id == 0 ? "-" : std::to_string(audit.job_id), audit.operator_name, audit.reason});
    }
    std::cout << "\nWhat people did to it\n" << table.str("  ");
  }
}

Json trail_json(const Trail& trail) {
  Json json;
  json["now"] = nullptr;
  if (trail.standing) {
    json["now"] = {{"state", ledger::to_string(trail.standing->state)},
                   {"life", trail.standing->life},
                   {"attempt", trail.standing->attempt},
                   {"since", to_json(*trail.standing_since)}};
  }
  json["other_lives"] = Json::array();
  for (const Letter& other : trail.other_lives) json["other_lives"].push_back(letter_json(other));
  json["outbox"] = Json::array();
  for (const auto& row : trail.outbox) {
    json["outbox"].push_back({{"id", row.id},
                              {"message_id", to_json(Bytes(row.message_id))},
                              {"purpose", row.purpose},
                              {"topic", row.topic},
                              {"relay", row.relay},
                              {"status", row.status},
                              {"attempts", row.attempts},
                              {"last_error", row.last_error.empty() ? Json() : to_json(Bytes(row.last_error))},
                              {"available_at", to_json(row.available_at)},
                              {"sent_at", row.sent_at ? to_json(*row.sent_at) : Json()}});
  }
  json["audits"] = Json::array();
  for (const auto& audit : trail.audits) {
    json["audits"].push_back({{"at", to_json(audit.at)},
                              {"action", audit.action},
                              {"outcome", audit.outcome},
                              {"job", audit.job_id == 0 ? Json() : Json(audit.job_id)},
                              {"operator", to_json(Bytes(audit.operator_name))},
                              {"reason", to_json(Bytes(audit.reason))},
                              {"new_message_id", audit.new_message_id.empty() ? Json() : Json(audit.new_message_id)}});
  }
  return json;
}

int show_letter(const Globals& globals, const ShowFlags& flags) {
  const std::size_t payload_limit = config::parse_size(flags.payload_limit, "--payload-limit");
  if (flags.raw && is_terminal(Stream::output)) {
    throw RefusedError(
        "--raw writes the payload as it is, and standard output is a terminal, which would obey what is "
        "in it; redirect it to a file or a pipe");
  }
  if (flags.from.is_set()) return show_of_topic(globals, flags.from, flags.reference, payload_limit, flags.raw);
  const Letters letters(globals);
  const auto [letter, trail] = letters.pool->transact([&](mysql::Transaction& tx) {
    Letter found = find(tx, flags.reference);
    Trail trail_found = dead_letter::trail_of(tx, found);
    return std::pair(std::move(found), std::move(trail_found));
  });
  if (flags.raw) {
    if (letter.message.payload.is_null()) say("The payload is null (a tombstone).");
    std::cout << letter.message.payload.view();
    return kDone;
  }
  if (globals.json) {
    Json json = letter_json(letter);
    json["headers"] = to_json(letter.message.headers);
    json["key"] = to_json(letter.message.key);
    json["payload"] = to_json(letter.message.payload);
    json.update(trail_json(trail));
    print_json(json);
    return kDone;
  }
  print_letter(letter);
  print_record(letter.message.key, letter.message.payload, letter.message.headers, payload_limit);
  print_trail(trail);
  if (letter.state == dead_letter::LetterState::dead) {
    std::cout.flush();
    say("\nNext: dlq-replay run --consumer " + printable(letter.consumer) + " --id " + std::to_string(letter.id));
  }
  return kDone;
}

}  // namespace

void add_show_verb(CLI::App& parent, Program& program) {
  CLI::App& verb = add_verb(parent, "show", "everything about one letter: record, errors, and where its message stands",
                            "  dlq-replay show 4711\n"
                            "  dlq-replay show o-42                    # the message id, when it has one letter\n"
                            "  dlq-replay show 4711 --raw > payload.bin");
  auto flags = std::make_shared<ShowFlags>();
  verb.add_option("REF", flags->reference, "letter id, or message id; with --from-topic PARTITION/OFFSET")->required();
  flags->from.add_to(verb);
  verb.add_option("--payload-limit", flags->payload_limit, "show so much of the payload (default 16KiB)")
      ->type_name("SIZE");
  verb.add_flag("--raw", flags->raw, "write the payload's bytes to standard output, and nothing else");
  on_chosen(verb, program, std::move(flags), show_letter);
}

}  // namespace oncemark::tools
