// import: what a program made of an export. Letters whose record was changed go on as new messages, as with edit.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <memory>

#include <oncemark/core/error.hpp>
#include <oncemark/core/loop.hpp>
#include <oncemark/core/signals.hpp>
#include <oncemark/dead_letter/keeping.hpp>
#include <oncemark/message/names.hpp>
#include <oncemark/observe/log.hpp>

#include "confirm.hpp"
#include "dlq.hpp"
#include "letter_record.hpp"
#include "messages.hpp"
#include "progress.hpp"
#include "selection.hpp"
#include "text_diff.hpp"

namespace oncemark::tools {
namespace {

using dead_letter::Letter;

constexpr std::size_t kDiffs = 3;        // that a person is shown
constexpr std::uint64_t kRefusals = 20;  // that are told one by one

struct ImportFlags {
  std::string file;
  std::optional<std::string> rate = {};
  std::uint32_t max_replays = 2;
  std::string reason = {};
  std::optional<std::string> operator_name = {};
  std::string relay = {};
  std::optional<std::string> confirm = {};
  bool dry_run = false;
  bool yes = false;
};

struct FileCloser {
  void operator()(std::FILE* file) const { std::fclose(file); }
};
using File = std::unique_ptr<std::FILE, FileCloser>;

/// The lines of a file or of standard input, twice, however many there are. The second reading is of a copy that has no
/// name, so that nobody changes it in between.
class Lines {
 public:
  explicit Lines(const std::string& name) : copy_(std::tmpfile()) {
    const File opened(name == "-" ? nullptr : std::fopen(name.c_str(), "rb"));
    if (name != "-" && !opened) throw UsageError(printable(name, 200) + " cannot be read");
    std::FILE* const from = name == "-" ? stdin : opened.get();
    if (!copy_) throw std::runtime_error("no temporary file could be made");
    std::vector<char> buffer(1 << 20);
    while (const std::size_t got = std::fread(buffer.data(), 1, buffer.size(), from)) {
      if (std::fwrite(buffer.data(), 1, got, copy_.get()) != got)
        throw std::runtime_error("the temporary file is full");
    }
    if (std::ferror(from) != 0) throw UsageError(printable(name, 200) + " cannot be read");
    std::rewind(copy_.get());
  }
  Lines(const Lines&) = delete;
  Lines& operator=(const Lines&) = delete;
  ~Lines() { std::free(line_); }

  /// The line at `place`, which moves behind it; nothing at the end.
  std::optional<std::string_view> read(std::int64_t& place) {
    if (::fseeko(copy_.get(), place, SEEK_SET) != 0) throw std::runtime_error("the temporary file cannot be read");
    const ssize_t got = ::getline(&line_, &room_, copy_.get());
    if (got < 0) return std::nullopt;
    place += got;
    std::string_view line(line_, static_cast<std::size_t>(got));
    while (line.ends_with('\n') || line.ends_with('\r')) line.remove_suffix(1);
    return line;
  }

 private:
  File copy_;
  char* line_ = nullptr;
  std::size_t room_ = 0;
};

Headers without_ours(Headers headers) {
  headers.remove_prefixed(names::kPrefix);
  return headers;
}

Headers ours(const Headers& headers) {
  Headers own;
  for (const Header& header : headers) {
    if (header.name.starts_with(names::kPrefix)) own.append(header.name, header.value);
  }
  return own;
}

/// Why the line cannot be sent as an edit of the letter; empty: it can.
std::string objection(const RecordLine& line, const std::optional<Letter>& letter) {
  if (!letter) return "there is no such letter any more";
  if (letter->state != dead_letter::LetterState::dead) {
    return "it is " + std::string(to_string(letter->state)) + " meanwhile";
  }
  const Message& message = letter->message;
  if (letter->consumer != line.consumer || line.message_id != Bytes(message.id) || line.replays + 1 != message.life) {
    return "it is another letter than the one that was exported";
  }
  if (line.key != message.key) return "its key was changed, and with it order and partition";
  if (ours(line.headers) != ours(message.headers)) return "headers that start with om- were changed; they are ours";
  return {};
}

class Import {
 public:
  Import(const Globals& globals, const ImportFlags& flags)
      : globals_(globals), flags_(flags), rate_(flags.rate ? parse_rate(*flags.rate) : 0), lines_(flags.file) {}

  int perform() {
    read_all();
    const Letters letters(globals_);
    survey(*letters.pool);
    tell_plan();
    if (flags_.dry_run) return refused_ > 0 ? kPartly : kDone;
    int code = refused_ > 0 ? kPartly : kDone;
    if (!edits_.empty()) {
      require_confirmation({.verb = "send",
                            .doing = "sending",
                            .things = grouped(edits_.size()) + (edits_.size() == 1 ? " new message" : " new messages"),
                            .name = consumer_,
                            .what_name = "consumer",
                            .is_narrowed = true,
                            .count = edits_.size(),
                            .yes = flags_.yes,
                            .confirm = flags_.confirm});
      code = send_all(letters);
    }
    summarise(code);
    return code;
  }

 private:
  struct Edit {
    std::int64_t place = 0;
    std::uint64_t number = 0;  // of the line
  };

  /// Complains about a line that is none before the database is asked for anything.
  void read_all() {
    std::vector<std::uint64_t> ids;
    std::int64_t place = 0;
    std::uint64_t number = 0;
    while (const auto text = lines_.read(place)) {
      ++number;
      if (text->empty()) continue;
      try {
        RecordLine line = parse_record_line(*text);
        if (consumer_.empty()) consumer_ = line.consumer;
        if (line.consumer != consumer_) {
          throw UsageError("it is of consumer " + printable(line.consumer, 100) + ", and lines before it are of " +
                           printable(consumer_, 100) + "; import one consumer at a time");
        }
        ids.push_back(line.letter);
      } catch (const UsageError& error) {
        throw UsageError("line " + std::to_string(number) + ": " + error.what() + "; nothing was done");
      }
    }
    std::ranges::sort(ids);
    if (const auto twice = std::ranges::adjacent_find(ids); twice != ids.end()) {
      throw UsageError("letter " + std::to_string(*twice) + " is there twice; nothing was done");
    }
  }

  /// Finds out what was changed, and what stands in its way.
  void survey(mysql::Pool& pool) {
    std::int64_t place = 0;
    for (std::uint64_t number = 1;; ++number) {
      const std::int64_t begins = place;
      const auto text = lines_.read(place);
      if (!text) return;
      if (text->empty()) continue;
      const RecordLine line = parse_record_line(*text);
      const auto letter =
          pool.transact([&](mysql::Transaction& tx) { return dead_letter::find_letter(tx, line.letter); });
      if (const std::string why = objection(line, letter); !why.empty()) {
        refuse(number, line.letter, why);
      } else if (line.payload == letter->message.payload &&
                 without_ours(line.headers) == without_ours(letter->message.headers)) {
        ++unchanged_;
      } else {
        edits_.push_back({.place = begins, .number = number});
        show_changes(line, *letter);
      }
    }
  }

  void refuse(std::uint64_t number, std::uint64_t letter, const std::string& why) {
    ++refused_;
    if (globals_.json) {
      print_json({{"event", "letter"}, {"line", number}, {"letter", letter}, {"outcome", "refused"}, {"why", why}});
    } else if (refused_ <= kRefusals) {
      say("line " + std::to_string(number) + ": letter " + std::to_string(letter) + " stays: " + printable(why, 500));
    } else if (refused_ == kRefusals + 1) {
      say("… and others; --json names them all");
    }
  }

  void show_changes(const RecordLine& line, const Letter& letter) const {
    if (globals_.json ? !flags_.dry_run : edits_.size() > kDiffs) return;
    const std::string payload = payload_diff(letter.message.payload, line.payload);
    const std::string headers = headers_diff(letter.message.headers, line.headers);
    if (globals_.json) {
      print_json({{"event", "diff"}, {"letter", letter.id}, {"payload", payload}, {"headers", headers}});
      return;
    }
    std::ostream& out = flags_.dry_run ? std::cout : std::cerr;
    out << "Letter " << letter.id << ", message " << printable(letter.message.id, 320) << "\n";
    if (!headers.empty()) out << "\nHeaders\n" << headers;
    if (!payload.empty()) out << "\nPayload\n" << payload;
    out << '\n' << std::flush;
  }

  void tell_plan() const {
    if (globals_.json) {
      print_json({{"event", "plan"}, {"changed", edits_.size()}, {"unchanged", unchanged_}, {"refused", refused_}});
      return;
    }
    std::ostream& out = flags_.dry_run ? std::cout : std::cerr;
    if (edits_.size() > kDiffs) out << "… and " << grouped(edits_.size() - kDiffs) << " more.\n\n";
    out << "Plan: " << grouped(edits_.size()) << " of " << grouped(edits_.size() + unchanged_ + refused_)
        << " letters were changed and go on as new messages; " << grouped(unchanged_) << " are as they were and stay";
    if (refused_ > 0) out << "; " << grouped(refused_) << " cannot be sent";
    out << ".\n" << std::flush;
  }

  int send_all(const Letters& letters) {
    const StopOnSignal signals;
    const dead_letter::ReplayOrder order{.max_replays = flags_.max_replays,
                                         .operator_name = flags_.operator_name.value_or(default_operator()),
                                         .reason = flags_.reason,
                                         .relay = flags_.relay,
                                         .topics = letters.settings.topics};
    dead_letter::ReplayJob shown{.selected = edits_.size()};
    Progress progress(can_animate() ? Progress::Form::animated : Progress::Form::lines, shown);
    const auto began = std::chrono::steady_clock::now();
    for (const Edit& edit : edits_) {
      const std::chrono::duration<double> due(rate_ > 0 ? static_cast<double>(shown.checkpoint) / rate_ : 0);
      const auto wait = std::chrono::ceil<std::chrono::milliseconds>(began + due - std::chrono::steady_clock::now());
      if (signals.signal() != 0 || (wait.count() > 0 && !wait_for(signals.token(), wait))) {
        left_ = edits_.size() - shown.checkpoint;
        return 128 + signals.signal();
      }
      send(*letters.pool, edit, order);
      ++shown.checkpoint;
      if (!globals_.json) progress.update(shown);
    }
    return refused_ > 0 ? kPartly : kDone;
  }

  void send(mysql::Pool& pool, const Edit& edit, const dead_letter::ReplayOrder& order) {
    std::int64_t place = edit.place;
    const RecordLine line = parse_record_line(*lines_.read(place));
    try {
      std::string why;
      const dead_letter::Edited edited = pool.transact([&](mysql::Transaction& tx) -> dead_letter::Edited {
        why = objection(line, dead_letter::find_letter(tx, line.letter));  // its state row decides about the rest
        if (!why.empty()) return {};
        return dead_letter::replay_edited(tx, line.letter, {.payload = line.payload, .headers = line.headers}, order);
      });
      if (!edited.is_done) {
        refuse(edit.number, line.letter, why.empty() ? edited.outcome : why);
        return;
      }
      ++sent_;
      if (globals_.json) {
        print_json({{"event", "letter"},
                    {"line", edit.number},
                    {"letter", line.letter},
                    {"outcome", "sent"},
                    {"message_id", edited.message_id}});
      }
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::permanent && error.kind() != ErrorKind::misuse) {
        say(grouped(sent_) + " were sent. Import the same file again: they are passed over then.");
        throw;
      }
      refuse(edit.number, line.letter, error.what());
    }
  }

  void summarise(int code) const {
    if (globals_.json) {
      print_json({{"event", "summary"},
                  {"exit_code", code},
                  {"sent", sent_},
                  {"unchanged", unchanged_},
                  {"refused", refused_},
                  {"left", left_}});
      return;
    }
    std::cout << (left_ > 0 ? "Stopped: " : "Done: ") << grouped(sent_) << " sent as new messages, "
              << grouped(unchanged_) << " unchanged, " << grouped(refused_) << " refused";
    if (left_ > 0) std::cout << ", " << grouped(left_) << " left; import the same file again to go on";
    std::cout << ".\n" << std::flush;
  }

  const Globals& globals_;
  const ImportFlags& flags_;
  double rate_;
  Lines lines_;
  std::string consumer_;
  std::vector<Edit> edits_;
  std::uint64_t unchanged_ = 0;
  std::uint64_t refused_ = 0;
  std::uint64_t sent_ = 0;
  std::uint64_t left_ = 0;
};

int import_letters(const Globals& globals, const ImportFlags& flags) {
  if (flags.max_replays == 0) throw UsageError("--max-replays must be at least 1");
  return Import(globals, flags).perform();
}

}  // namespace

void add_import_verb(CLI::App& parent, Program& program) {
  CLI::App& verb = add_verb(
      parent, "import", "send the letters of an export whose records a program has changed",
      "  dlq-replay export --consumer shipping --fingerprint 9f2c > letters.jsonl\n"
      "  jq -c '.value.data |= sub(\"EURO\"; \"EUR\")' letters.jsonl | dlq-replay import - --dry-run\n"
      "  dlq-replay import fixed.jsonl --reason 'currency' --rate 50/s --yes\n"
      "\nEach is what edit makes of one letter: a new message that names the old one in om-edited-from. Only value\n"
      "and headers may be changed. A letter that was not changed stays; one that is no longer dead, or not the one\n"
      "that was exported, is refused and said (exit code 3).");
  auto flags = std::make_shared<ImportFlags>();
  verb.add_option("FILE", flags->file, "JSON lines as export writes them; - is standard input")->required();
  verb.add_option("--rate", flags->rate, "letters per time: 50/s, 600/m (default: no limit)")->type_name("RATE");
  verb.add_flag("-n,--dry-run", flags->dry_run, "show what would change, and do nothing");
  verb.add_flag("-y,--yes", flags->yes, "do not ask");
  verb.add_option("--confirm", flags->confirm, "do not ask")->type_name("CONSUMER");
  verb.add_option("--max-replays", flags->max_replays, "refuse letters that were replayed so often (default 2)")
      ->type_name("N");
  verb.add_option("--reason", flags->reason, "why, for the audit")->type_name("TEXT");
  verb.add_option("--operator", flags->operator_name, "who, for the audit (default: your account)")->type_name("NAME");
  verb.add_option("--relay", flags->relay, "who sends the records (default: the relay named like the consumer)")
      ->type_name("NAME");
  on_chosen(verb, program, std::move(flags), import_letters);
}

}  // namespace oncemark::tools
