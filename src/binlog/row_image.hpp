#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "binlog/cursor.hpp"
#include "binlog/table_map.hpp"

namespace oncemark::binlog {

/// One column's value of one row.
struct Field {
  enum class State : std::uint8_t {
    absent,  // not in this image (binlog_row_image is not FULL), or not asked for
    null,
    number,  // integers, BIT, YEAR, ENUM's index, SET's bits
    real,    // FLOAT, DOUBLE
    bytes,   // CHAR, VARCHAR, BINARY, TEXT, BLOB, GEOMETRY, VECTOR: as stored, with no character set applied
    text,    // DECIMAL, dates and times (TIMESTAMP in UTC), MySQL's JSON
  };
  State state = State::absent;
  std::uint8_t width = 0;    // of an integer, in bytes
  std::uint64_t number = 0;  // an integer's bytes; see as_signed()
  double real = 0;
  std::string_view bytes = {};  // within the event
  std::string text = {};

  [[nodiscard]] bool is_null() const noexcept { return state == State::null; }
  /// The number with the sign that a signed column gives it.
  [[nodiscard]] std::int64_t as_signed() const noexcept {
    if (width == 0 || width >= 8) return static_cast<std::int64_t>(number);
    const unsigned unused = 64u - 8u * width;
    return static_cast<std::int64_t>(number << unused) >> unused;
  }
};

/// A set of columns, a bit each, as events hold it.
class ColumnBits {
 public:
  ColumnBits() = default;
  explicit ColumnBits(std::string_view bits) : bits_(bits) {}
  [[nodiscard]] bool has(std::size_t column) const noexcept {
    return column / 8 < bits_.size() && (static_cast<unsigned char>(bits_[column / 8]) >> (column % 8) & 1u) != 0;
  }

 private:
  std::string_view bits_;
};

/// Reads one image of a row.
///
/// Shape:   `fields` has an element a column afterwards. Columns beyond `wanted` (a bit each; empty: all) are passed
///          over, which is cheaper, and stay absent.
/// Errors:  BinlogError: malformed, or unsupported for a wanted value that cannot be read.
void read_image(Cursor& images, const TableMap& map, const ColumnBits& present, const std::vector<bool>& wanted,
                std::vector<Field>& fields);

}  // namespace oncemark::binlog
