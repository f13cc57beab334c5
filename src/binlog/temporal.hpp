#pragma once

#include <cstdint>
#include <string>

#include "binlog/cursor.hpp"

namespace oncemark::binlog {

/// Dates, times and decimals of a row image as the text that the server would print.
///
/// Shape:   `digits`: of the fraction, 0 to 6. A zero date prints as 0000-00-00. A TIMESTAMP prints in UTC.
/// Errors:  BinlogError{malformed} for bytes that are no such value.
[[nodiscard]] std::string read_date(Cursor& bytes);
[[nodiscard]] std::string read_time(Cursor& bytes, unsigned digits);
[[nodiscard]] std::string read_datetime(Cursor& bytes, unsigned digits);
[[nodiscard]] std::string read_timestamp(Cursor& bytes, unsigned digits);
[[nodiscard]] std::string read_decimal(Cursor& bytes, unsigned precision, unsigned scale);
[[nodiscard]] std::size_t decimal_size(unsigned precision, unsigned scale);

/// The packed forms that stand within MySQL's JSON.
[[nodiscard]] std::string packed_datetime(std::int64_t packed, bool is_date_only);
[[nodiscard]] std::string packed_time(std::int64_t packed);

}  // namespace oncemark::binlog
