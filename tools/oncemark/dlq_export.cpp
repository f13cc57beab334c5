// export: letters with their records, for programs (JSON lines, which import reads) or for a spreadsheet (CSV).
#include <array>
#include <iostream>
#include <span>

#include <oncemark/dead_letter/keeping.hpp>
#include <oncemark/ledger/transitions.hpp>
#include <oncemark/observe/log.hpp>

#include "dlq.hpp"
#include "letter_record.hpp"
#include "messages.hpp"
#include "selection.hpp"

namespace oncemark::tools {
namespace {

using dead_letter::Letter;

constexpr std::size_t kTogether = 200;       // letters that are read at once
constexpr std::size_t kBytes = 16ull << 20;  // of them, together
constexpr std::size_t kCell = 32'000;        // bytes of a cell; spreadsheets take no more than 32,767 characters

struct ExportFlags {
  SelectionFlags selection;
  std::string state = "dead";
  bool csv = false;
  bool fail_if_empty = false;
};

/// A cell that stays text: spreadsheets take what begins with = + - or @ for a formula.
std::string cell(const std::string& text) {
  const std::string shown = printable(text, kCell);
  std::string quoted = "\"";
  if (shown.find_first_of("=+-@|%") == 0) quoted += '\'';
  for (const char c : shown) {
    if (c == '"') quoted += '"';
    quoted += c;
  }
  return quoted + '"';
}

constexpr std::array kColumns{"letter",      "state",  "consumer", "message id", "business key", "topic",
                              "partition",   "offset", "replays",  "attempts",   "died at",      "fingerprint",
                              "error class", "error",  "key",      "headers",    "payload"};

void write_csv_line(std::ostream& out, std::span<const std::string> cells) {
  for (std::size_t i = 0; i < cells.size(); ++i) out << (i == 0 ? "" : ",") << cells[i];
  out << "\r\n";
}

void write_csv(std::ostream& out, const Letter& letter) {
  const Message& message = letter.message;
  const auto text = [](const Bytes& bytes) {
    if (bytes.is_null()) return std::string("null");
    const Json json = to_json(bytes);
    return json.is_string() ? bytes.str() : "base64:" + json["base64"].get<std::string>();
  };
  const std::array<std::string, kColumns.size()> cells{
      std::to_string(letter.id),
      cell(std::string(to_string(letter.state))),
      cell(letter.consumer),
      cell(text(message.id)),
      cell(text(message.business_key)),
      cell(message.origin.topic),
      std::to_string(message.origin.partition),
      std::to_string(message.origin.offset),
      std::to_string(message.life - 1),
      std::to_string(letter.attempts),
      cell(short_time(letter.died_at)),
      cell(letter.fingerprint),
      cell(letter.error_class),
      cell(letter.error_text),
      cell(text(message.key)),
      cell(to_json(message.headers).dump(-1, ' ', false, Json::error_handler_t::replace)),
      cell(text(message.payload))};
  write_csv_line(out, cells);
}

void write(const ExportFlags& flags, std::ostream& out, const Letter& letter) {
  if (flags.csv) {
    write_csv(out, letter);
  } else {
    // A terminal gets ASCII only, and so nothing that it would obey.
    out << record_json(letter).dump(-1, ' ', is_terminal(Stream::output), Json::error_handler_t::strict) << '\n';
  }
  if (!out) throw std::runtime_error("the export cannot be written; what there is of it is not whole");
}

int export_letters(const Globals& globals, const ExportFlags& flags) {
  if (flags.selection.limit == std::uint64_t{0}) throw UsageError("--limit must be at least 1");
  (void)flags.selection.selection(Time{});
  const dead_letter::LetterFilter filter = flags.selection.filter();
  std::optional<dead_letter::LetterState> state;
  if (flags.state != "any") state = dead_letter::parse_letter_state(flags.state);

  const Letters letters(globals);
  dead_letter::Selection selection = flags.selection.selection(
      letters.pool->transact([](mysql::Transaction& tx) { return ledger::database_now(tx); }));
  selection.state = state;
  const auto ids =
      dead_letter::select_letters(*letters.pool, selection, filter, flags.selection.limit.value_or(UINT64_MAX));
  if (flags.csv) {
    std::vector<std::string> titles;
    for (const char* title : kColumns) titles.push_back(cell(title));
    write_csv_line(std::cout, titles);
  }
  std::uint64_t written = 0;
  for (std::span<const std::uint64_t> left(ids); !left.empty();) {
    const auto fetched = letters.pool->transact([&](mysql::Transaction& tx) {
      return dead_letter::fetch_letters(tx, left.first(std::min(kTogether, left.size())), kBytes);
    });
    for (const Letter& letter : fetched.letters) write(flags, std::cout, letter);
    written += fetched.letters.size();
    left = left.subspan(fetched.ids);
  }
  if (!std::cout.flush()) throw std::runtime_error("the export cannot be written; what there is of it is not whole");
  say(written == 0 ? "No letters match." : grouped(written) + (written == 1 ? " letter." : " letters."));
  return written == 0 && flags.fail_if_empty ? kNothing : kDone;
}

}  // namespace

void add_export_verb(CLI::App& parent, Program& program) {
  CLI::App& verb =
      add_verb(parent, "export", "letters with their records, as JSON lines or CSV, the oldest first",
               "  dlq-replay export --consumer shipping --fingerprint 9f2c > letters.jsonl\n"
               "  dlq-replay export --consumer shipping --csv --state any > letters.csv\n"
               "\nJSON lines keep every byte, in base64 where it is no UTF-8; a program may change value and headers,\n"
               "and import sends what was changed. CSV is for reading: cells are cut and made harmless.");
  auto flags = std::make_shared<ExportFlags>();
  flags->selection.add_to(verb);
  verb.add_option("--state", flags->state, "dead (default), replaying, replayed, resolved, archived, discarded, or any")
      ->type_name("STATE")
      ->group("Selection (all must match)");
  verb.add_option("--limit", flags->selection.limit, "at most so many, the oldest first")
      ->type_name("N")
      ->group("Selection (all must match)");
  verb.add_flag("--csv", flags->csv, "for a spreadsheet");
  verb.add_flag("--fail-if-empty", flags->fail_if_empty, "exit code 5 when nothing matches");
  on_chosen(verb, program, std::move(flags), export_letters);
}

}  // namespace oncemark::tools
