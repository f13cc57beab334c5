#include "binlog/row_json.hpp"

#include <array>

#include <oncemark/binlog/errors.hpp>

#include "binlog/json_binary.hpp"
#include "core/utf8.hpp"
#include "message/base64.hpp"

namespace oncemark::binlog {
namespace {

using Look = ColumnFacts::Look;

bool is_any_of(std::string_view type, std::initializer_list<std::string_view> types) {
  for (const std::string_view other : types) {
    if (type == other) return true;
  }
  return false;
}

Look look_of(std::string_view type, bool has_charset) {
  if (is_any_of(type, {"tinyint", "smallint", "mediumint", "int", "bigint", "float", "double", "year", "bit"})) {
    return Look::number;
  }
  if (type == "enum") return Look::words;
  if (type == "set") return Look::flags;
  if (type == "json") return Look::json;
  if (is_any_of(type, {"decimal", "date", "time", "datetime", "timestamp"}) || has_charset) return Look::text;
  return Look::bytes;
}

std::string words_of(const Field& field, const ColumnFacts& column) {
  if (column.look == Look::words) {
    return field.number >= 1 && field.number <= column.labels.size() ? column.labels[field.number - 1] : std::string();
  }
  std::string text;
  for (std::size_t i = 0; i < column.labels.size() && i < 64; ++i) {
    if ((field.number >> i & 1u) != 0) text += (text.empty() ? "" : ",") + column.labels[i];
  }
  return text;
}

std::string number_of(const Field& field, const ColumnFacts& column) {
  if (field.state == Field::State::real) {
    return column.is_float ? json_number(static_cast<float>(field.real)) : json_number(field.real);
  }
  return column.is_unsigned ? std::to_string(field.number) : std::to_string(field.as_signed());
}

void append_bytes(std::string& out, std::string_view bytes) {
  out += R"({"base64": ")" + base64::encode(bytes) + "\"}";
}

void append_value(std::string& out, const Field& field, const ColumnFacts& column) {
  if (field.is_null()) {
    out += "null";
    return;
  }
  switch (column.look) {
    case Look::number:
      out += number_of(field, column);
      return;
    case Look::words:
    case Look::flags:
      append_json_string(out, words_of(field, column));
      return;
    case Look::json:
      out += field.text;
      return;
    case Look::bytes:
      append_bytes(out, field.bytes);
      return;
    case Look::text:
      break;
  }
  if (field.state == Field::State::text) {
    append_json_string(out, field.text);
  } else if (utf8::is_valid(field.bytes)) {
    append_json_string(out, field.bytes);
  } else {
    append_bytes(out, field.bytes);
  }
}

}  // namespace

std::vector<std::string> parse_labels(std::string_view column_type) {
  std::vector<std::string> labels;
  std::size_t at = column_type.find('(');
  while (at != std::string_view::npos && (at = column_type.find('\'', at + 1)) != std::string_view::npos) {
    std::string label;
    for (++at; at < column_type.size(); ++at) {
      if (column_type[at] == '\'') {
        if (at + 1 >= column_type.size() || column_type[at + 1] != '\'') break;
        ++at;
      }
      label += column_type[at];
    }
    labels.push_back(std::move(label));
  }
  return labels;
}

std::vector<ColumnFacts> ask_columns(mysql::Session& session, const std::string& table) {
  const std::array<mysql::Param, 1> params{table};
  const mysql::Rows rows = session.query(
      "SELECT COLUMN_NAME, DATA_TYPE, CAST(COLUMN_TYPE AS CHAR), CHARACTER_SET_NAME IS NOT NULL FROM "
      "information_schema.columns WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = ? ORDER BY ORDINAL_POSITION",
      params);
  if (rows.empty()) throw BinlogError(Trouble::unsupported, "there is no table " + table + " to capture");
  std::vector<ColumnFacts> columns;
  for (const mysql::Row& row : rows) {
    const auto type = row.get<std::string>(1);
    const auto full_type = row.get<std::string>(2);
    ColumnFacts column;
    column.name = row.get<std::string>(0);
    column.look = look_of(type, row.get<bool>(3));
    column.is_unsigned = full_type.find("unsigned") != std::string::npos || type == "bit" || type == "year";
    column.is_float = type == "float";
    if (column.look == Look::words || column.look == Look::flags) column.labels = parse_labels(full_type);
    columns.push_back(std::move(column));
  }
  return columns;
}

Image to_image(const std::vector<Field>& fields, const std::vector<ColumnFacts>& columns) {
  Image image;
  for (std::size_t i = 0; i < fields.size() && i < columns.size(); ++i) {
    const Field& field = fields[i];
    const ColumnFacts& column = columns[i];
    if (field.state == Field::State::absent) continue;
    if (field.is_null()) {
      image.add(column.name, nullptr);
    } else if (column.look == Look::words || column.look == Look::flags) {
      image.add(column.name, words_of(field, column));
    } else if (field.state == Field::State::number || field.state == Field::State::real) {
      image.add(column.name, number_of(field, column));
    } else {
      image.add(column.name, field.state == Field::State::text ? Bytes(field.text) : Bytes(field.bytes));
    }
  }
  return image;
}

std::string to_json(const std::vector<Field>& fields, const std::vector<ColumnFacts>& columns,
                    const std::vector<bool>& chosen) {
  std::string out = "{";
  for (std::size_t i = 0; i < fields.size() && i < columns.size(); ++i) {
    if (fields[i].state == Field::State::absent || (!chosen.empty() && !chosen[i])) continue;
    if (out.size() > 1) out += ", ";
    append_json_string(out, columns[i].name);
    out += ": ";
    append_value(out, fields[i], columns[i]);
  }
  return out + "}";
}

}  // namespace oncemark::binlog
