#include "text_diff.hpp"

#include <algorithm>
#include <vector>

#include <oncemark/observe/log.hpp>

#include "output.hpp"
#include "payload_edit.hpp"

namespace oncemark::tools {
namespace {

constexpr std::size_t kMostLines = 1'000;  // that are compared one by one: time and memory grow with the square
constexpr std::size_t kLongestLine = 2'000;
constexpr std::size_t kAround = 3;  // lines shown before and after a change

using Lines = std::vector<std::string>;

Lines lines_of(std::string_view text) {
  Lines lines;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    lines.emplace_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return lines;
}

struct Change {
  char sign;  // ' ', '-' or '+'
  const std::string* line;
};

std::string shown(const std::vector<Change>& changes) {
  std::vector<bool> is_near(changes.size(), false);
  for (std::size_t i = 0; i < changes.size(); ++i) {
    if (changes[i].sign == ' ') continue;
    const std::size_t first = i - std::min(i, kAround);
    for (std::size_t j = first; j < std::min(changes.size(), i + kAround + 1); ++j) is_near[j] = true;
  }
  std::string text;
  for (std::size_t i = 0; i < changes.size(); ++i) {
    if (!is_near[i]) {
      if (i > 0 && is_near[i - 1]) text += "  …\n";
      continue;
    }
    text += changes[i].sign;
    text += ' ' + printable(*changes[i].line, kLongestLine) + '\n';
  }
  return text;
}

/// By the longest common subsequence.
std::vector<Change> changes_of(const Lines& before, const Lines& after) {
  const std::size_t rows = before.size() + 1;
  const std::size_t columns = after.size() + 1;
  std::vector<std::uint32_t> common(rows * columns, 0);
  for (std::size_t i = before.size(); i-- > 0;) {
    for (std::size_t j = after.size(); j-- > 0;) {
      common[i * columns + j] = before[i] == after[j]
                                    ? common[(i + 1) * columns + j + 1] + 1
                                    : std::max(common[(i + 1) * columns + j], common[i * columns + j + 1]);
    }
  }
  std::vector<Change> changes;
  std::size_t i = 0;
  std::size_t j = 0;
  while (i < before.size() || j < after.size()) {
    if (i < before.size() && j < after.size() && before[i] == after[j]) {
      changes.push_back({' ', &before[i]});
      ++i;
      ++j;
    } else if (j == after.size() ||
               (i < before.size() && common[(i + 1) * columns + j] >= common[i * columns + j + 1])) {
      changes.push_back({'-', &before[i++]});
    } else {
      changes.push_back({'+', &after[j++]});
    }
  }
  return changes;
}

bool is_too_long(const Lines& before, const Lines& after) {
  return before.size() > kMostLines || after.size() > kMostLines;
}

bool is_text(const Bytes& bytes) { return !bytes.is_null() && to_json(bytes).is_string(); }

/// Laid out with one member a line where it is JSON. Each token stays as it is written, so that 1.10 and 1.1 differ.
std::string laid_out(const Bytes& bytes) {
  if (!parse_payload(bytes.view())) return bytes.str();
  std::string text;
  std::size_t depth = 0;
  const auto new_line = [&] { text.append(1, '\n').append(2 * depth, ' '); };
  const std::string_view json = bytes.view();
  for (std::size_t i = 0; i < json.size(); ++i) {
    const char c = json[i];
    if (c == '"') {
      std::size_t end = i + 1;
      while (json[end] != '"') end += json[end] == '\\' ? 2 : 1;
      text += json.substr(i, end + 1 - i);
      i = end;
    } else if (c == '{' || c == '[') {
      text += c;
      const std::size_t next = json.find_first_not_of(" \t\r\n", i + 1);
      if (json[next] == '}' || json[next] == ']') {
        text += json[i = next];
        continue;
      }
      ++depth;
      new_line();
    } else if (c == '}' || c == ']') {
      --depth;
      new_line();
      text += c;
    } else if (c == ',') {
      text += c;
      new_line();
    } else if (c == ':') {
      text += ": ";
    } else if (c != ' ' && c != '\t' && c != '\r' && c != '\n') {
      text += c;
    }
  }
  return text;
}

std::string told(const Bytes& bytes) {
  return bytes.is_null() ? "null (a tombstone)" : grouped(bytes.size()) + " bytes";
}

}  // namespace

std::string payload_diff(const Bytes& before, const Bytes& after) {
  if (before == after) return {};
  if (!is_text(before) || !is_text(after)) {
    std::string text = "- " + told(before) + "\n+ " + told(after) + "\n";
    if (before.is_null() || after.is_null()) return text;
    const std::size_t same =
        static_cast<std::size_t>(std::ranges::mismatch(before.view(), after.view()).in1 - before.view().begin());
    return text + "  they differ from byte " + grouped(same) + " on\n";
  }
  std::string old_text = laid_out(before);
  std::string new_text = laid_out(after);
  if (old_text == new_text) {  // spaces: show them as they are
    old_text = before.str();
    new_text = after.str();
  }
  const Lines old_lines = lines_of(old_text);
  const Lines new_lines = lines_of(new_text);
  if (is_too_long(old_lines, new_lines)) {
    return "- " + told(before) + ", " + grouped(old_lines.size()) + " lines\n+ " + told(after) + ", " +
           grouped(new_lines.size()) + " lines\n";
  }
  std::string text = shown(changes_of(old_lines, new_lines));
  return text.empty() ? "  only the end of the last line differs\n" : text;
}

std::string headers_diff(const Headers& before, const Headers& after) {
  const auto as_lines = [](const Headers& headers) {
    Lines lines;
    for (const Header& header : headers) {
      lines.push_back(header.name + ": " + to_json(header.value).dump(-1, ' ', false, Json::error_handler_t::replace));
    }
    return lines;
  };
  const Lines old_lines = as_lines(before);
  const Lines new_lines = as_lines(after);
  if (old_lines == new_lines) return {};
  if (is_too_long(old_lines, new_lines)) {
    return "- " + grouped(old_lines.size()) + " headers\n+ " + grouped(new_lines.size()) + " headers\n";
  }
  return shown(changes_of(old_lines, new_lines));
}

}  // namespace oncemark::tools
