#pragma once

#include <string>
#include <string_view>

namespace oncemark::binlog {

/// MySQL's binary form of a JSON document as text.
///
/// Shape:   numbers and strings as they are; decimals as numbers, dates and times as strings, other values that JSON has
///          no form for as "base64:type<n>:…", like the server prints them. No document: null.
/// Errors:  BinlogError{malformed}; also for documents nested more than 100 deep, which the server refuses too.
[[nodiscard]] std::string json_text(std::string_view binary);

/// `text` as a JSON string, quotes included. Bytes that are no UTF-8 come out as '?'.
void append_json_string(std::string& out, std::string_view text);
/// The shortest text that reads back as the same number; null for what JSON cannot say.
[[nodiscard]] std::string json_number(double value);
[[nodiscard]] std::string json_number(float value);

}  // namespace oncemark::binlog
