#include "binlog/condition.hpp"

#include <algorithm>

#include <oncemark/core/error.hpp>
#include <oncemark/observe/log.hpp>

namespace oncemark::binlog {
namespace {

bool is_space(char c) noexcept { return c == ' ' || c == '\t'; }

std::string_view trimmed(std::string_view text) noexcept {
  while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
  return text;
}

// Words apart by single spaces and in capitals: "is  not null" is IS NOT NULL.
std::string as_words(std::string_view text) {
  std::string words;
  for (const char c : trimmed(text)) {
    if (is_space(c) && words.ends_with(' ')) continue;
    words += c == '\t' ? ' ' : c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c;
  }
  return words;
}

[[noreturn]] void refuse(std::string_view text, const std::string& why) {
  throw MisuseError("CapturedTable::where has \"" + printable(text, 120) + "\": " + why +
                    "; conditions read like before.state <> 'paid' or after.paid_at IS NOT NULL");
}

}  // namespace

Condition::Condition(std::string_view text) {
  std::string_view rest = trimmed(text);
  const std::size_t dot = rest.find('.');
  const std::string_view image = rest.substr(0, dot);
  if (dot == std::string_view::npos || (image != "before" && image != "after")) {
    refuse(text, "it begins with neither before. nor after.");
  }
  of_before_ = image == "before";
  rest.remove_prefix(dot + 1);
  const std::size_t end = std::min(rest.find_first_of(" \t=<"), rest.size());
  column_ = rest.substr(0, end);
  if (column_.empty()) refuse(text, "it names no column");
  rest = trimmed(rest.substr(end));

  if (const std::string words = as_words(rest); words == "IS NULL" || words == "IS NOT NULL") {
    test_ = words == "IS NULL" ? Test::is_null : Test::is_not_null;
    return;
  }
  const bool is_equal = rest.starts_with("=");
  if (!is_equal && !rest.starts_with("<>")) refuse(text, "there is =, <>, IS NULL and IS NOT NULL");
  test_ = is_equal ? Test::is : Test::is_not;
  rest = trimmed(rest.substr(is_equal ? 1 : 2));
  if (rest.size() < 2 || !rest.starts_with('\'') || !rest.ends_with('\''))
    refuse(text, "the value stands in single quotes");
  rest = rest.substr(1, rest.size() - 2);
  while (!rest.empty()) {
    if (rest.front() == '\'') {
      if (rest.size() < 2 || rest[1] != '\'') refuse(text, "a quote inside the value is written twice");
      rest.remove_prefix(1);
    }
    value_ += rest.front();
    rest.remove_prefix(1);
  }
}

bool Condition::holds(const RowChange& change) const {
  const Bytes* found = (of_before_ ? change.before : change.after).find(column_);
  const bool is_null = found == nullptr || found->is_null();
  switch (test_) {
    case Test::is_null:
      return is_null;
    case Test::is_not_null:
      return !is_null;
    case Test::is:
      return !is_null && found->view() == value_;
    default:
      return !is_null && found->view() != value_;
  }
}

}  // namespace oncemark::binlog
