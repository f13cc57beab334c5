#include "binlog/group_reader.hpp"

#include <utility>
#include <variant>

#include <oncemark/binlog/place.hpp>

namespace oncemark::binlog {
namespace {

template <typename... Functions>
struct Cases : Functions... {
  using Functions::operator()...;
};
template <typename... Functions>
Cases(Functions...) -> Cases<Functions...>;

bool is_space(char c) noexcept { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }
char upper(char c) noexcept { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c; }

std::string_view without_comments(std::string_view text) {
  for (;;) {
    while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
    if (!text.starts_with("/*") || text.starts_with("/*!")) return text;
    const std::size_t end = text.find("*/", 2);
    if (end == std::string_view::npos) return {};
    text.remove_prefix(end + 2);
  }
}

}  // namespace

std::string to_string(const Place& place) { return place.file + ":" + std::to_string(place.position); }

std::string leading_words(std::string_view statement, std::size_t count) {
  std::string words;
  std::string_view rest = without_comments(statement);
  for (std::size_t i = 0; i < count; ++i) {
    while (!rest.empty() && is_space(rest.front())) rest.remove_prefix(1);
    std::string word;
    while (!rest.empty() && !is_space(rest.front()) && rest.front() != ';') {
      word += upper(rest.front());
      rest.remove_prefix(1);
    }
    if (word.empty()) break;
    words += (words.empty() ? "" : " ") + word;
  }
  return words;
}

void GroupReader::take(const EventHeader& header, const Event& event) {
  if (const auto* rotate = std::get_if<Rotate>(&event)) {
    file_ = rotate->file;
    position_ = rotate->position;
    return;
  }
  advance(header);
  time_ = header.time;
  std::visit(Cases{
                 [](const Ignored&) {},
                 [](const Rotate&) {},
                 // The server was killed within a group, and has taken it back.
                 [&](const FormatDescription&) {
                   if (is_open_) end(Outcome::discarded);
                 },
                 [&](const Gtid& gtid) { begin(gtid); },
                 [&](const Query& text) { query(text); },
                 [&](const Commit&) { end(Outcome::committed); },
                 [&](const Prepared&) { end(Outcome::open); },
                 [&](const RowsEvent& rows) { callbacks_.rows(rows); },
             },
             event);
}

// Events hold 32 bits of their position, and a transaction may carry a file beyond them.
void GroupReader::advance(const EventHeader& header) {
  if (header.next == 0 || header.is_artificial()) return;
  constexpr std::uint64_t kLow = 0xffffffff;
  std::uint64_t position = (position_ & ~kLow) | header.next;
  if (position + kLow / 2 < position_) position += kLow + 1;
  if (position > position_) position_ = position;
}

void GroupReader::begin(const Gtid& gtid) {
  if (is_open_) end(Outcome::discarded);
  gtid_ = gtid;
  began_at_ = position_;
  is_open_ = true;
  const bool is_of_mariadb = gtid.source.empty() && gtid.number != 0;
  has_begun_ = is_of_mariadb && !gtid.is_standalone;
  is_doubtful_ = gtid.is_prepared;
}

void GroupReader::query(const Query& statement) {
  const std::string first = leading_words(statement.text, 1);
  if (first == "BEGIN" || leading_words(statement.text, 2) == "START TRANSACTION") {
    has_begun_ = is_open_ = true;
  } else if (first == "COMMIT") {
    end(Outcome::committed);
  } else if (first == "ROLLBACK") {
    if (leading_words(statement.text, 2) == "ROLLBACK") return end(Outcome::discarded);
    is_doubtful_ = true;  // to a savepoint: rows behind it never happened
  } else if (first == "XA") {
    const std::string words = leading_words(statement.text, 2);
    if (words == "XA START" || words == "XA BEGIN") {
      has_begun_ = is_open_ = is_doubtful_ = true;
    } else if (words == "XA COMMIT") {
      end(Outcome::committed, true);
    } else if (words == "XA ROLLBACK") {
      end(Outcome::discarded);
    }
  } else if (first != "SAVEPOINT" && first != "RELEASE") {
    callbacks_.statement(statement);
    if (!has_begun_) end(Outcome::committed);
  }
}

void GroupReader::end(Outcome outcome, bool settles_xa) {
  if (outcome == Outcome::committed && is_doubtful_) outcome = Outcome::open;
  const GroupEnd ended{outcome, settles_xa, std::exchange(gtid_, {}), file_, position_};
  is_open_ = has_begun_ = is_doubtful_ = false;
  callbacks_.end(ended);
}

}  // namespace oncemark::binlog
