#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include <oncemark/core/bytes.hpp>
#include <oncemark/core/clock.hpp>
#include <oncemark/message/headers.hpp>

namespace oncemark::tools {

using Json = nlohmann::ordered_json;

/// Any bytes as JSON: text where they are UTF-8, {"base64": "…"} otherwise, null for null.
[[nodiscard]] Json to_json(const Bytes& bytes);
/// An array of [name, value] pairs: order and duplicates are kept.
[[nodiscard]] Json to_json(const Headers& headers);
[[nodiscard]] Json to_json(Time time);
/// One line on standard output.
void print_json(const Json& value);

/// 2026-11-23 09:30:00Z
[[nodiscard]] std::string short_time(Time time);
/// How long ago, or how long: 45s, 12m, 3h 12m, 26d.
[[nodiscard]] std::string short_duration(std::chrono::milliseconds duration);
/// 1 284
[[nodiscard]] std::string grouped(std::uint64_t number);

/// Columns aligned by their widest cell. Cells may hold anything: they are made printable here.
class Table {
 public:
  enum class Align { left, right };
  struct Column {
    std::string title;
    Align align = Align::left;
    std::size_t limit = 60;  // bytes of a cell
  };
  explicit Table(std::vector<Column> columns) : columns_(std::move(columns)) {}

  void add(std::vector<std::string> cells);
  /// The lines, each after `indent`; nothing when there are no rows.
  [[nodiscard]] std::string str(std::string_view indent = {}) const;

 private:
  std::vector<Column> columns_;
  std::vector<std::vector<std::string>> rows_;
};

/// Bytes for a person: UTF-8 text line by line, with everything a terminal would obey escaped; else a hex dump.
/// At most `limit` bytes are shown, each line after `indent`.
[[nodiscard]] std::string readable(const Bytes& bytes, std::size_t limit, std::string_view indent);

enum class Stream { input, output, messages };
[[nodiscard]] bool is_terminal(Stream stream) noexcept;
/// A terminal whose lines can be rewritten.
[[nodiscard]] bool can_animate() noexcept;

}  // namespace oncemark::tools
