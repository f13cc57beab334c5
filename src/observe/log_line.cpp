#include "observe/log_line.hpp"

#include <algorithm>

#include "core/utf8.hpp"

namespace oncemark {
namespace {

constexpr std::size_t kMaxPart = 2'048;  // bytes of the text, and of each value

// Controls of ASCII and Latin-1 (terminals obey both), and Unicode's line and paragraph separators.
bool is_control(std::string_view sequence) {
  const auto first = static_cast<unsigned char>(sequence[0]);
  if (sequence.size() == 1) return first < 0x20 || first == 0x7F;
  const auto second = static_cast<unsigned char>(sequence[1]);
  if (sequence.size() == 2) return first == 0xC2 && second < 0xA0;
  return sequence == "\xE2\x80\xA8" || sequence == "\xE2\x80\xA9";
}

std::string escaped(std::string_view bytes) {
  constexpr std::string_view kHex = "0123456789abcdef";
  std::string text;
  for (const char c : bytes) {
    const auto byte = static_cast<unsigned char>(c);
    text += {'\\', 'x', kHex[byte >> 4], kHex[byte & 0x0F]};
  }
  return text;
}

bool needs_quotes(std::string_view value) {
  return value.empty() || value.find_first_of(" \"=\\") != std::string_view::npos;
}

std::string value_text(std::string_view value) {
  std::string bare = printable(value, kMaxPart);
  const bool is_escaped = bare != value.substr(0, bare.size());
  if (!is_escaped && !needs_quotes(value)) return bare;
  std::string inside;
  for (const char c : value) {
    if (c == '"' || c == '\\') inside += '\\';
    inside += c;
  }
  return '"' + printable(inside, kMaxPart) + '"';
}

}  // namespace

std::string_view to_string(LogLevel level) noexcept {
  switch (level) {
    case LogLevel::debug:
      return "debug";
    case LogLevel::info:
      return "info";
    case LogLevel::warn:
      return "warn";
    case LogLevel::error:
      return "error";
  }
  return "unknown";
}

std::optional<LogLevel> parse_log_level(std::string_view name) noexcept {
  for (const LogLevel level : {LogLevel::debug, LogLevel::info, LogLevel::warn, LogLevel::error}) {
    if (name == to_string(level)) return level;
  }
  return std::nullopt;
}

std::string format_log_line(LogLevel level, std::string_view text, const std::vector<LogField>& fields) {
  std::string line(to_string(level));
  line += ' ';
  line += printable(text, kMaxPart);
  for (const LogField& field : fields) {
    line += ' ';
    line += printable(field.key);
    line += '=';
    line += value_text(field.value);
  }
  return line;
}

std::string printable(std::string_view text, std::size_t limit) {
  std::string result;
  while (!text.empty()) {
    const std::size_t length = utf8::sequence_length(text);
    const std::string_view next = text.substr(0, std::max<std::size_t>(length, 1));
    const bool is_shown = length > 0 && !is_control(next);
    const std::string piece = is_shown ? std::string(next) : escaped(next);
    if (result.size() + piece.size() > limit) break;
    result += piece;
    text.remove_prefix(next.size());
  }
  return result;
}

}  // namespace oncemark
