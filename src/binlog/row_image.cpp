#include "binlog/row_image.hpp"

#include <bit>

#include "binlog/json_binary.hpp"
#include "binlog/temporal.hpp"

namespace oncemark::binlog {
namespace {

[[noreturn]] void cannot_read(const TableMap& map, std::size_t column, const std::string& why) {
  const std::string name = map.names.empty() ? "column " + std::to_string(column + 1) : "column " + map.names[column];
  throw BinlogError(Trouble::unsupported, "a row of " + map.schema + "." + map.table + ", " + name + ": " + why);
}

// Types of servers before 5.6 whose length depends on what the binlog does not say.
[[noreturn]] void cannot_read_old_time(const TableMap& map, std::size_t column) {
  cannot_read(map, column,
              "a date or time of the old format, whose length the binlog does not tell; set mysql56_temporal_format=ON "
              "and rebuild the table (ALTER TABLE … FORCE)");
}

unsigned bit_bytes(std::uint16_t metadata) {
  const unsigned bytes = metadata >> 8;
  const unsigned bits = metadata & 0xff;
  return bytes + (bits > 0 ? 1 : 0);
}

unsigned length_bytes(std::uint16_t metadata) {
  if (metadata < 1 || metadata > 4) refuse_bytes("a blob has a length of " + std::to_string(metadata) + " bytes");
  return metadata;
}

unsigned enum_bytes(std::uint16_t metadata) {
  const unsigned bytes = metadata & 0xff;
  if (bytes < 1 || bytes > 8) refuse_bytes("an enumeration has " + std::to_string(bytes) + " bytes");
  return bytes;
}

std::string_view take_string(Cursor& images, std::uint16_t metadata) {
  return images.take(images.little(metadata > 255 ? 2 : 1));
}

std::string_view take_blob(Cursor& images, std::uint16_t metadata) {
  return images.take(images.little(length_bytes(metadata)));
}

unsigned time_bytes(std::uint16_t digits) {
  if (digits > 6) refuse_bytes("a time has " + std::to_string(digits) + " digits of fraction");
  return (digits + 1u) / 2u;
}

void number(Field& field, Cursor& images, unsigned width) {
  field.state = Field::State::number;
  field.width = static_cast<std::uint8_t>(width);
  field.number = images.little(width);
}

void bytes(Field& field, std::string_view value) {
  field.state = Field::State::bytes;
  field.bytes = value;
}

void text(Field& field, std::string value) {
  field.state = Field::State::text;
  field.text = std::move(value);
}

unsigned integer_bytes(std::uint8_t kind) {
  switch (kind) {
    case kTiny:
      return 1;
    case kShort:
      return 2;
    case kInt24:
      return 3;
    case kLong:
      return 4;
    default:
      return 8;
  }
}

void read(Field& field, Cursor& images, const TableMap& map, std::size_t index) {
  const ColumnType& column = map.columns[index];
  const std::uint16_t metadata = column.metadata;
  switch (column.kind) {
    case kTiny:
    case kShort:
    case kInt24:
    case kLong:
    case kLongLong:
      return number(field, images, integer_bytes(column.kind));
    case kFloat:
      field.state = Field::State::real;
      field.real = std::bit_cast<float>(static_cast<std::uint32_t>(images.little(4)));
      return;
    case kDouble:
      field.state = Field::State::real;
      field.real = std::bit_cast<double>(images.little(8));
      return;
    case kYear:
      number(field, images, 1);
      field.number = field.number == 0 ? 0 : field.number + 1900;
      field.width = 8;
      return;
    case kEnum:
    case kSet:
      number(field, images, enum_bytes(metadata));
      field.width = 8;
      return;
    case kBit: {
      const unsigned width = bit_bytes(metadata);
      if (width > 8) refuse_bytes("a BIT column has " + std::to_string(width) + " bytes");
      field.state = Field::State::number;
      field.width = 8;
      field.number = images.big(width);
      return;
    }
    case kDecimal:
      return text(field, read_decimal(images, metadata & 0xff, metadata >> 8));
    case kDate:
    case kNewDate:
      return text(field, read_date(images));
    case kTime:
      return text(field, read_time(images, metadata));
    case kDatetime:
      return text(field, read_datetime(images, metadata));
    case kTimestamp:
      return text(field, read_timestamp(images, metadata));
    case kVarchar:
    case kVarString:
    case kString:
      return bytes(field, take_string(images, metadata));
    case kTinyBlob:
    case kMediumBlob:
    case kLongBlob:
    case kBlob:
    case kGeometry:
    case kVector:
      return bytes(field, take_blob(images, metadata));
    case kJson:
      return text(field, json_text(take_blob(images, metadata)));
    case kBlobCompressed:
    case kVarcharCompressed:
      cannot_read(map, index, "a COMPRESSED column cannot be read from the binlog");
    case kOldTimestamp:
    case kOldTime:
    case kOldDatetime:
      cannot_read_old_time(map, index);
    default:
      cannot_read(map, index, "values of type " + std::to_string(column.kind) + " cannot be read");
  }
}

void pass_over(Cursor& images, const TableMap& map, std::size_t index) {
  const ColumnType& column = map.columns[index];
  const std::uint16_t metadata = column.metadata;
  switch (column.kind) {
    case kTiny:
    case kShort:
    case kInt24:
    case kLong:
    case kLongLong:
      images.take(integer_bytes(column.kind));
      return;
    case kFloat:
      images.take(4);
      return;
    case kDouble:
      images.take(8);
      return;
    case kYear:
      images.take(1);
      return;
    case kEnum:
    case kSet:
      images.take(enum_bytes(metadata));
      return;
    case kBit:
      images.take(bit_bytes(metadata));
      return;
    case kDecimal:
      images.take(decimal_size(metadata & 0xff, metadata >> 8));
      return;
    case kDate:
    case kNewDate:
      images.take(3);
      return;
    case kTime:
      images.take(3 + time_bytes(metadata));
      return;
    case kDatetime:
      images.take(5 + time_bytes(metadata));
      return;
    case kTimestamp:
      images.take(4 + time_bytes(metadata));
      return;
    case kVarchar:
    case kVarString:
    case kString:
    case kVarcharCompressed:
      take_string(images, metadata);
      return;
    case kTinyBlob:
    case kMediumBlob:
    case kLongBlob:
    case kBlob:
    case kGeometry:
    case kVector:
    case kJson:
    case kBlobCompressed:
      take_blob(images, metadata);
      return;
    case kOldTimestamp:
    case kOldTime:
    case kOldDatetime:
      cannot_read_old_time(map, index);
    default:
      cannot_read(map, index, "values of type " + std::to_string(column.kind) + " cannot be read");
  }
}

}  // namespace

// A bit for each column that is there says whether it is null.
void read_image(Cursor& images, const TableMap& map, const ColumnBits& present, const std::vector<bool>& wanted,
                std::vector<Field>& fields) {
  const std::size_t columns = map.columns.size();
  fields.resize(columns);
  std::size_t there = 0;
  for (std::size_t i = 0; i < columns; ++i) there += present.has(i) ? 1 : 0;
  const ColumnBits nulls(images.take((there + 7) / 8));
  std::size_t position = 0;
  for (std::size_t i = 0; i < columns; ++i) {
    Field& field = fields[i];
    field.state = Field::State::absent;
    if (!present.has(i)) continue;
    const bool is_null = nulls.has(position++);
    const bool is_wanted = wanted.empty() || (i < wanted.size() && wanted[i]);
    if (is_null) {
      if (is_wanted) field.state = Field::State::null;
    } else if (is_wanted) {
      read(field, images, map, i);
    } else {
      pass_over(images, map, i);
    }
  }
}

}  // namespace oncemark::binlog
