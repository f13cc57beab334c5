// edit: a letter is replayed with another record.
#include <algorithm>
#include <cstdlib>
#include <iostream>

#include <oncemark/dead_letter/keeping.hpp>
#include <oncemark/message/names.hpp>
#include <oncemark/observe/log.hpp>

#include "confirm.hpp"
#include "dlq.hpp"
#include "messages.hpp"
#include "payload_edit.hpp"
#include "selection.hpp"
#include "text_diff.hpp"

namespace oncemark::tools {
namespace {

using dead_letter::Letter;

struct EditFlags {
  std::uint64_t letter = 0;
  std::optional<std::string> patch = {};
  std::optional<std::string> merge_patch = {};
  std::optional<std::string> payload = {};
  std::vector<std::string> headers = {};
  std::uint32_t max_replays = 2;
  std::string reason = {};
  std::optional<std::string> operator_name = {};
  std::string relay = {};
  bool dry_run = false;
  bool yes = false;

  [[nodiscard]] bool has_file() const { return patch || merge_patch || payload; }
};

std::pair<std::string, std::string> parsed(const std::string& header) {
  const std::size_t equals = header.find('=');
  if (equals == std::string::npos || equals == 0) {
    throw UsageError("--header is \"" + printable(header, 60) + "\"; expected NAME=VALUE");
  }
  std::string name = header.substr(0, equals);
  if (name.starts_with(names::kPrefix)) {
    throw UsageError("--header: " + printable(name, 60) + " is ours and cannot be set");
  }
  return {std::move(name), header.substr(equals + 1)};
}

void check(const EditFlags& flags) {
  if (int{flags.patch.has_value()} + int{flags.merge_patch.has_value()} + int{flags.payload.has_value()} > 1) {
    throw UsageError("--patch, --merge-patch and --payload exclude each other");
  }
  for (const std::string& header : flags.headers) (void)parsed(header);
  if (flags.max_replays == 0) throw UsageError("--max-replays must be at least 1");
  const bool has_editor = std::getenv("VISUAL") != nullptr || std::getenv("EDITOR") != nullptr;
  if (!flags.has_file() && flags.headers.empty() && !has_editor && !is_terminal(Stream::input)) {
    throw UsageError("there is no terminal for an editor; give --patch, --merge-patch, --payload or --header");
  }
}

Letter find(const Letters& letters, std::uint64_t id) {
  auto letter = letters.pool->transact([&](mysql::Transaction& tx) { return dead_letter::find_letter(tx, id); });
  if (!letter) {
    throw UsageError("there is no letter " + std::to_string(id) +
                     "; `dlq-replay list --state any` shows what there is");
  }
  if (letter->state != dead_letter::LetterState::dead) {
    throw RefusedError("letter " + std::to_string(id) + " is " + std::string(to_string(letter->state)) +
                       ", and only a dead one can be edited; nothing was done");
  }
  return std::move(*letter);
}

dead_letter::Edit edit_of(const EditFlags& flags, const Message& message) {
  dead_letter::Edit edit{.payload = message.payload, .headers = message.headers};
  if (flags.patch) {
    edit.payload = with_patch(message.payload, read_whole(*flags.patch));
  } else if (flags.merge_patch) {
    edit.payload = with_merge_patch(message.payload, read_whole(*flags.merge_patch));
  } else if (flags.payload) {
    edit.payload = read_whole(*flags.payload);
  } else if (flags.headers.empty()) {
    edit.payload = edited_by_hand(message.payload);
  }
  for (const std::string& header : flags.headers) {
    const auto [name, value] = parsed(header);
    edit.headers.set(name, value);
  }
  return edit;
}

/// The diff, which is data where it is all that was asked for. Throws when there is none.
void show_changes(const Globals& globals, const EditFlags& flags, const Letter& letter, const dead_letter::Edit& edit) {
  const std::string payload = payload_diff(letter.message.payload, edit.payload);
  const std::string headers = headers_diff(letter.message.headers, edit.headers);
  if (payload.empty() && headers.empty()) {
    throw RefusedError("nothing was changed, and nothing was done\n  try:    dlq-replay run --consumer " +
                       letter.consumer + " --id " + std::to_string(letter.id) + ", to replay it as it is");
  }
  if (globals.json) {
    print_json({{"event", "diff"}, {"letter", letter.id}, {"payload", payload}, {"headers", headers}});
    return;
  }
  std::ostream& out = flags.dry_run ? std::cout : std::cerr;
  out << "Letter " << letter.id << ", message " << printable(letter.message.id, 320) << "\n";
  if (!headers.empty()) out << "\nHeaders\n" << headers;
  if (!payload.empty()) out << "\nPayload\n" << payload;
  out << '\n' << std::flush;
}

int edit_letter(const Globals& globals, const EditFlags& flags) {
  check(flags);
  const Letters letters(globals);
  const Letter letter = find(letters, flags.letter);
  const dead_letter::Edit edit = edit_of(flags, letter.message);
  show_changes(globals, flags, letter, edit);
  if (flags.dry_run) return kDone;
  require_confirmation({.verb = "send",
                        .doing = "sending",
                        .things = "this as a new message",
                        .name = letter.consumer,
                        .what_name = "consumer",
                        .is_narrowed = true,
                        .count = 1,
                        .yes = flags.yes});
  const dead_letter::ReplayOrder order{.max_replays = flags.max_replays,
                                       .operator_name = flags.operator_name.value_or(default_operator()),
                                       .reason = flags.reason,
                                       .relay = flags.relay,
                                       .topics = letters.settings.topics};
  const dead_letter::Edited edited = letters.pool->transact(
      [&](mysql::Transaction& tx) { return dead_letter::replay_edited(tx, letter.id, edit, order); });
  const int code = edited.is_done ? kDone : kPartly;
  if (globals.json) {
    print_json({{"event", "summary"},
                {"exit_code", code},
                {"letter", letter.id},
                {"outcome", edited.outcome},
                {"message_id", edited.is_done ? Json(edited.message_id) : Json()}});
  } else if (edited.is_done) {
    std::cout << "Done: letter " << letter.id << " goes on as message " << edited.message_id << ".\n";
  } else {
    std::cout << "Nothing was sent: " << printable(edited.outcome, 200) << ".\n";
  }
  return code;
}

}  // namespace

void add_edit_verb(CLI::App& parent, Program& program) {
  CLI::App& verb =
      add_verb(parent, "edit", "replay one letter with another record, as a new message",
               "  dlq-replay edit 42\n"
               "  dlq-replay edit 42 --merge-patch fix.json --reason 'no currency'\n"
               "  dlq-replay edit 42 --payload fixed.bin --header tenant=acme --yes\n"
               "\nWhat would change is shown first. The new message has an id of its own and names the old one in\n"
               "om-edited-from; of the two at most one takes effect. The editor is $VISUAL, else $EDITOR, else vi.");
  auto flags = std::make_shared<EditFlags>();
  const std::string group = "Change";
  verb.add_option("LETTER", flags->letter, "the letter's id")->required();
  verb.add_option("--patch", flags->patch, "JSON Patch (RFC 6902); - is standard input")
      ->type_name("FILE")
      ->group(group);
  verb.add_option("--merge-patch", flags->merge_patch, "JSON merge patch (RFC 7396)")->type_name("FILE")->group(group);
  verb.add_option("--payload", flags->payload, "the whole payload, byte by byte")->type_name("FILE")->group(group);
  verb.add_option("--header", flags->headers, "set this header; may be given several times")
      ->type_name("NAME=VALUE")
      ->group(group)
      ->allow_extra_args(false);
  verb.add_flag("-n,--dry-run", flags->dry_run, "show what would change and do nothing");
  verb.add_flag("-y,--yes", flags->yes, "do not ask");
  verb.add_option("--max-replays", flags->max_replays, "refuse one that was replayed so often (default 2)")
      ->type_name("N");
  verb.add_option("--reason", flags->reason, "why, for the audit")->type_name("TEXT");
  verb.add_option("--operator", flags->operator_name, "who, for the audit (default: your account)")->type_name("NAME");
  verb.add_option("--relay", flags->relay, "who sends the record (default: the relay named like the consumer)")
      ->type_name("NAME");
  on_chosen(verb, program, std::move(flags), edit_letter);
}

}  // namespace oncemark::tools
