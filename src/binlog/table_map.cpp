#include "binlog/table_map.hpp"

#include "binlog/cursor.hpp"

namespace oncemark::binlog {
namespace {

constexpr std::uint64_t kMaxColumns = 4'096;  // InnoDB has 1,017, the servers 4,096
constexpr std::uint64_t kSignedness = 1;
constexpr std::uint64_t kColumnName = 4;

TableName read_name(Cursor& body) {
  TableName name;
  name.id = body.little(6);
  body.take(2);  // flags
  name.schema = body.take(body.byte());
  body.take(1);
  name.table = body.take(body.byte());
  body.take(1);
  return name;
}

std::string full_name(const TableMap& map) { return map.schema + "." + map.table; }

// The length of each kind's metadata is fixed by the format.
void read_metadata(Cursor& metadata, ColumnType& column, const TableMap& map) {
  switch (column.kind) {
    case kFloat:
    case kDouble:
    case kTimestamp:
    case kDatetime:
    case kTime:
    case kTinyBlob:
    case kMediumBlob:
    case kLongBlob:
    case kBlob:
    case kBlobCompressed:
    case kJson:
    case kGeometry:
    case kVector:
      column.metadata = metadata.byte();
      return;
    case kVarchar:
    case kVarString:
    case kVarcharCompressed:
    case kBit:
    case kDecimal:
      column.metadata = static_cast<std::uint16_t>(metadata.little(2));
      return;
    case kEnum:
    case kSet:
      column.kind = metadata.byte();
      column.metadata = metadata.byte();
      return;
    case kString: {
      // CHAR, BINARY, ENUM and SET share a type. The first byte is the real one, with two bits of the length of long
      // columns folded into it.
      const std::uint8_t real = metadata.byte();
      const std::uint8_t length = metadata.byte();
      if ((real & 0x30) == 0x30) {
        column.kind = real;
        column.metadata = length;
      } else {
        column.kind = static_cast<std::uint8_t>(real | 0x30);
        column.metadata = static_cast<std::uint16_t>(length | (((real & 0x30) ^ 0x30) << 4));
      }
      if (column.kind != kString && column.kind != kEnum && column.kind != kSet) {
        refuse_bytes("table map of " + full_name(map) + ": a string column has the real type " +
                     std::to_string(column.kind));
      }
      return;
    }
    case kTiny:
    case kShort:
    case kLong:
    case kNull:
    case kOldTimestamp:
    case kLongLong:
    case kInt24:
    case kDate:
    case kOldTime:
    case kOldDatetime:
    case kYear:
    case kNewDate:
      return;
    default:
      throw BinlogError(Trouble::unsupported, "table map of " + full_name(map) + ": column type " +
                                                  std::to_string(column.kind) + " is not known to this library");
  }
}

bool is_numeric(std::uint8_t kind) noexcept {
  return is_integer(kind) || kind == kDecimal || kind == kFloat || kind == kDouble;
}

// One bit a numeric column, the highest bit first.
std::vector<bool> read_signedness(Cursor bits, const TableMap& map) {
  std::vector<bool> is_unsigned(map.columns.size(), false);
  std::size_t number = 0;
  std::uint8_t byte = 0;
  for (std::size_t i = 0; i < map.columns.size(); ++i) {
    if (!is_numeric(map.columns[i].kind)) continue;
    if (number % 8 == 0) byte = bits.byte();
    is_unsigned[i] = (byte & (0x80u >> (number % 8))) != 0;
    ++number;
  }
  return is_unsigned;
}

std::vector<std::string> read_names(Cursor names, const TableMap& map) {
  std::vector<std::string> result;
  while (!names.is_at_end()) result.emplace_back(names.take(names.packed()));
  if (result.size() != map.columns.size()) {
    refuse_bytes("table map of " + full_name(map) + " names " + std::to_string(result.size()) + " of " +
                 std::to_string(map.columns.size()) + " columns");
  }
  return result;
}

// Character sets, values of enumerations, keys and what later versions add are of no use here and may be passed over:
// they describe and change nothing.
void read_optional(Cursor& body, TableMap& map) {
  while (!body.is_at_end()) {
    const std::uint64_t field = body.byte();
    const std::string_view value = body.take(body.packed());
    if (field == kSignedness) map.is_unsigned = read_signedness(Cursor(value), map);
    if (field == kColumnName) map.names = read_names(Cursor(value), map);
  }
}

}  // namespace

bool is_integer(std::uint8_t kind) noexcept {
  return kind == kTiny || kind == kShort || kind == kInt24 || kind == kLong || kind == kLongLong;
}

TableName read_table_name(std::string_view body) {
  Cursor cursor(body);
  return read_name(cursor);
}

TableMap read_table_map(std::string_view body) {
  Cursor cursor(body);
  const TableName name = read_name(cursor);
  TableMap map;
  map.id = name.id;
  map.schema = std::string(name.schema);
  map.table = std::string(name.table);

  const std::uint64_t count = cursor.packed();
  if (count > kMaxColumns) {
    refuse_bytes("table map of " + full_name(map) + " has " + std::to_string(count) + " columns");
  }
  for (const char kind : cursor.take(count)) map.columns.push_back({.kind = static_cast<std::uint8_t>(kind)});
  Cursor metadata(cursor.take(cursor.packed()));
  for (ColumnType& column : map.columns) read_metadata(metadata, column, map);
  if (!metadata.is_at_end()) refuse_bytes("table map of " + full_name(map) + " has more metadata than columns");
  const std::string_view nullable = cursor.take((count + 7) / 8);
  for (std::size_t i = 0; i < map.columns.size(); ++i) {
    map.columns[i].is_nullable = (static_cast<unsigned char>(nullable[i / 8]) >> (i % 8) & 1u) != 0;
  }
  read_optional(cursor, map);
  return map;
}

}  // namespace oncemark::binlog
