#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace oncemark::binlog {

/// Types of columns as the binlog names them.
enum ColumnKind : std::uint8_t {
  kTiny = 1,
  kShort = 2,
  kLong = 3,
  kFloat = 4,
  kDouble = 5,
  kNull = 6,
  kOldTimestamp = 7,
  kLongLong = 8,
  kInt24 = 9,
  kDate = 10,
  kOldTime = 11,
  kOldDatetime = 12,
  kYear = 13,
  kNewDate = 14,
  kVarchar = 15,
  kBit = 16,
  kTimestamp = 17,
  kDatetime = 18,
  kTime = 19,
  kBlobCompressed = 140,
  kVarcharCompressed = 141,
  kVector = 242,
  kJson = 245,
  kDecimal = 246,
  kEnum = 247,
  kSet = 248,
  kTinyBlob = 249,
  kMediumBlob = 250,
  kLongBlob = 251,
  kBlob = 252,
  kVarString = 253,
  kString = 254,
  kGeometry = 255,
};

struct ColumnType {
  std::uint8_t kind = 0;
  std::uint16_t metadata = 0;  // what it means depends on the kind: lengths, digits, fractions
  bool is_nullable = false;
};

/// The table that rows are of, as it was when they were written.
struct TableMap {
  std::uint64_t id = 0;
  std::string schema;
  std::string table;
  std::vector<ColumnType> columns;
  std::vector<std::string> names;  // empty unless the server writes them (binlog_row_metadata=FULL)
  std::vector<bool> is_unsigned;   // empty unless the server writes it
};

/// Which table a map is of, without looking at its columns.
struct TableName {
  std::uint64_t id = 0;
  std::string_view schema;
  std::string_view table;
};
[[nodiscard]] TableName read_table_name(std::string_view body);

/// Reads the body of a TABLE_MAP event, checksum and header removed.
///
/// Errors:  BinlogError{malformed}; {unsupported} for a type of column that is not known, since rows of the table could
///          not even be passed over.
[[nodiscard]] TableMap read_table_map(std::string_view body);

[[nodiscard]] bool is_integer(std::uint8_t kind) noexcept;

}  // namespace oncemark::binlog
