#include "dead_letter/selection.hpp"

#include <algorithm>
#include <cctype>

#include <oncemark/core/error.hpp>
#include <oncemark/observe/log.hpp>

namespace oncemark::dead_letter {
namespace {

// Their columns are ASCII: comparing them with anything else is an error of the server's.
void check_plain(std::string_view what, const std::string& name) {
  const bool is_plain = !name.empty() && std::ranges::all_of(name, [](unsigned char c) {
    return c < 0x80 && (std::isalnum(c) != 0 || c == '.' || c == '_' || c == '-');
  });
  if (is_plain) return;
  throw MisuseError("\"" + printable(name, 100) + "\" can be no " + std::string(what) +
                    ": only [A-Za-z0-9._-] are allowed, and at least one of them");
}

void check_fingerprint(const std::string& text) {
  const bool is_hex = std::ranges::all_of(text, [](unsigned char c) { return std::isxdigit(c) != 0; });
  if (is_hex && text.size() >= 4 && text.size() <= 16) return;
  throw MisuseError("\"" + printable(text, 100) +
                    "\" can be no fingerprint: it is 16 hex digits, or the first 4 or more");
}

/// LIKE's pattern for a glob, with | as escape: it works on bytes, where the column is a BLOB.
std::string like_pattern(std::string_view glob) {
  std::string pattern;
  for (const char c : glob) {
    if (c == '*') {
      pattern += '%';
    } else if (c == '?') {
      pattern += '_';
    } else {
      if (c == '%' || c == '_' || c == '|') pattern += '|';
      pattern += c;
    }
  }
  return pattern;
}

}  // namespace

Condition condition_of(const Selection& selection) {
  Condition condition;
  const auto require = [&](std::string_view sql, mysql::Param param) {
    condition.sql += condition.sql.empty() ? " WHERE " : " AND ";
    condition.sql += sql;
    condition.params.push_back(param);
  };
  if (selection.consumer) {
    check_plain("consumer", *selection.consumer);
    require("consumer = ?", *selection.consumer);
  }
  if (selection.state) require("state = ?", to_string(*selection.state));
  if (selection.fingerprint) {
    check_fingerprint(*selection.fingerprint);
    require("fingerprint LIKE CONCAT(LOWER(?), '%')", *selection.fingerprint);
  }
  if (selection.topic) {
    check_plain("topic", *selection.topic);
    require("origin_topic = ?", *selection.topic);
  }
  if (selection.error_class) require("error_class = ?", *selection.error_class);
  if (selection.message_id) require("message_id = ?", *selection.message_id);
  if (selection.id) require("id = ?", *selection.id);
  if (selection.died_since) require("died_at >= ?", *selection.died_since);
  if (selection.died_until) require("died_at < ?", *selection.died_until);
  if (selection.group) {
    check_plain("group", *selection.group);
    require("origin_group = ?", *selection.group);
  }
  if (selection.error_text) require("LOCATE(?, error_text) > 0", *selection.error_text);
  if (selection.key_glob) {
    condition.texts.push_back(like_pattern(*selection.key_glob));
    require("record_key LIKE ? ESCAPE '|'", condition.texts.back());
  }
  if (selection.partition) require("origin_partition = ?", *selection.partition);
  if (selection.first_offset > 0) require("origin_offset >= ?", selection.first_offset);
  if (selection.last_offset < INT64_MAX) require("origin_offset <= ?", selection.last_offset);
  if (selection.min_attempts > 0) require("attempts >= ?", selection.min_attempts);
  if (selection.max_attempts < UINT32_MAX) require("attempts <= ?", selection.max_attempts);
  if (selection.min_replays > 0) require("life > ?", selection.min_replays);
  if (selection.max_replays < UINT32_MAX) require("life <= ?", std::uint64_t{selection.max_replays} + 1);
  if (selection.after_id > 0) require("id > ?", selection.after_id);
  if (selection.last_id < UINT64_MAX) require("id <= ?", selection.last_id);
  return condition;
}

}  // namespace oncemark::dead_letter
