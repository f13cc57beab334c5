#include "output.hpp"

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <iostream>

#include <unistd.h>

#include <oncemark/core/error.hpp>
#include <oncemark/observe/log.hpp>

namespace oncemark::tools {
namespace {

/// Characters, as far as a column's width asks: bytes that do not continue a UTF-8 sequence.
std::size_t width(std::string_view text) {
  return static_cast<std::size_t>(
      std::ranges::count_if(text, [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

std::string hex_line(std::string_view bytes, std::size_t offset) {
  std::array<char, 32> number{};
  std::snprintf(number.data(), number.size(), "%08zx ", offset);
  std::string line = number.data();
  for (std::size_t i = 0; i < 16; ++i) {
    if (i < bytes.size()) {
      std::snprintf(number.data(), number.size(), " %02x", static_cast<unsigned>(static_cast<unsigned char>(bytes[i])));
      line += number.data();
    } else {
      line += "   ";
    }
  }
  line += "  ";
  for (const char c : bytes) line += c >= 0x20 && c < 0x7F ? c : '.';
  return line;
}

}  // namespace

Json to_json(const Bytes& bytes) {
  // The form in which headers lie in our tables is JSON that keeps any bytes.
  return Json::parse(encode_headers({{"", bytes}})).at(0).at(1);
}

Json to_json(const Headers& headers) { return Json::parse(encode_headers(headers)); }

Json to_json(Time time) { return format_rfc3339(time); }

void print_json(const Json& value) {
  // A terminal gets ASCII only, and so nothing that it would obey.
  const bool is_ascii = is_terminal(Stream::output);
  std::cout << value.dump(-1, ' ', is_ascii, Json::error_handler_t::replace) << '\n' << std::flush;
}

std::string short_time(Time time) {
  const std::string text = format_datetime(time);
  return text.substr(0, text.find('.')) + "Z";
}

std::string short_duration(std::chrono::milliseconds duration) {
  const auto seconds = std::max<std::int64_t>(0, std::chrono::round<std::chrono::seconds>(duration).count());
  const auto two = [](std::int64_t large, const char* unit, std::int64_t small, const char* small_unit) {
    std::string text = std::to_string(large) + unit;
    if (small > 0) text += " " + std::to_string(small) + small_unit;
    return text;
  };
  if (seconds < 60) return std::to_string(seconds) + "s";
  if (seconds < 3'600) return two(seconds / 60, "m", seconds % 60, "s");
  if (seconds < 172'800) return two(seconds / 3'600, "h", seconds % 3'600 / 60, "m");
  return std::to_string(seconds / 86'400) + "d";
}

std::string grouped(std::uint64_t number) {
  std::string text = std::to_string(number);
  for (std::size_t at = text.size(); at > 3; at -= 3) text.insert(at - 3, 1, ' ');
  return text;
}

void Table::add(std::vector<std::string> cells) {
  for (std::size_t i = 0; i < cells.size(); ++i) cells[i] = printable(cells[i], columns_[i].limit);
  rows_.push_back(std::move(cells));
}

std::string Table::str(std::string_view indent) const {
  if (rows_.empty()) return {};
  std::vector<std::string> titles;
  std::vector<std::size_t> widths;
  for (const Column& column : columns_) {
    titles.push_back(column.title);
    widths.push_back(width(column.title));
  }
  for (const auto& row : rows_) {
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], width(row[i]));
  }

  std::string text;
  const auto append = [&](const std::vector<std::string>& cells) {
    std::string line(indent);
    for (std::size_t i = 0; i < cells.size(); ++i) {
      const std::string padding(widths[i] - width(cells[i]), ' ');
      if (i > 0) line += "  ";
      line += columns_[i].align == Align::right ? padding + cells[i] : cells[i] + padding;
    }
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + '\n';
  };
  append(titles);
  for (const auto& row : rows_) append(row);
  return text;
}

std::string readable(const Bytes& bytes, std::size_t limit, std::string_view indent) {
  std::string text;
  const std::string_view all = bytes.view();
  std::string_view shown = all.substr(0, limit);
  if (to_json(bytes).is_string()) {
    shown = shown.substr(0, truncate_utf8(all, limit).size());
    for (std::size_t begin = 0; begin < shown.size();) {
      const std::size_t end = std::min(shown.find('\n', begin), shown.size());
      const std::string_view line = shown.substr(begin, end - begin);
      text.append(indent).append(printable(line, line.size() * 4)) += '\n';
      begin = end + 1;
    }
  } else {
    for (std::size_t offset = 0; offset < shown.size(); offset += 16) {
      text.append(indent).append(hex_line(shown.substr(offset, 16), offset)) += '\n';
    }
  }
  if (shown.size() < all.size()) {
    text.append(indent).append("… " + grouped(all.size() - shown.size()) + " more bytes\n");
  }
  return text;
}

bool is_terminal(Stream stream) noexcept {
  constexpr std::array<int, 3> kDescriptors{STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO};
  return ::isatty(kDescriptors[static_cast<std::size_t>(stream)]) == 1;
}

bool can_animate() noexcept {
  const char* terminal = std::getenv("TERM");
  return is_terminal(Stream::messages) && terminal != nullptr && std::string_view(terminal) != "dumb";
}

}  // namespace oncemark::tools
