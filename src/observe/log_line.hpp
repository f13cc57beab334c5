#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <oncemark/observe/log.hpp>

namespace oncemark {

[[nodiscard]] std::string_view to_string(LogLevel level) noexcept;
/// The level of that name; nothing for any other text.
[[nodiscard]] std::optional<LogLevel> parse_log_level(std::string_view name) noexcept;

/// A log line without its time: warn text key=value key="two words".
///
/// Shape:   one line whatever the text and the values hold. A value is quoted when it is empty or
///          holds a blank, a quote, '=', a backslash or anything that printable() escapes; inside,
///          quote and backslash stand behind a backslash.
/// Threads: pure.
/// Errors:  none but std::bad_alloc.
[[nodiscard]] std::string format_log_line(LogLevel level, std::string_view text, const std::vector<LogField>& fields);

}  // namespace oncemark
