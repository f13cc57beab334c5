#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <oncemark/binlog/capture.hpp>
#include <oncemark/mysql/session.hpp>

#include "binlog/row_image.hpp"

namespace oncemark::binlog {

/// A column as the server describes it.
struct ColumnFacts {
  enum class Look : std::uint8_t { number, text, bytes, json, words, flags };
  std::string name;
  Look look = Look::text;
  bool is_unsigned = false;
  bool is_float = false;            // and not a double
  std::vector<std::string> labels;  // of ENUM (words) and SET (flags)
};

/// The columns of a table, in order.
///
/// Errors:  BinlogError{unsupported} when there is no such table, MysqlError.
[[nodiscard]] std::vector<ColumnFacts> ask_columns(mysql::Session& session, const std::string& table);

/// The labels in "enum('a','b''c')", as information_schema prints it.
[[nodiscard]] std::vector<std::string> parse_labels(std::string_view column_type);

[[nodiscard]] Image to_image(const std::vector<Field>& fields, const std::vector<ColumnFacts>& columns);

/// {"id": 7, "name": "…"}: the columns whose bit is set (empty: all) and that the image has.
[[nodiscard]] std::string to_json(const std::vector<Field>& fields, const std::vector<ColumnFacts>& columns,
                                  const std::vector<bool>& chosen);

}  // namespace oncemark::binlog
