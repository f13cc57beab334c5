#pragma once

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace oncemark {

enum class LogLevel { debug, info, warn, error };

/// One key and value of a log line.
struct LogField {
  LogField(std::string_view field_key, std::string_view text) : key(field_key), value(text) {}
  LogField(std::string_view field_key, const char* text) : key(field_key), value(text) {}
  LogField(std::string_view field_key, const std::string& text) : key(field_key), value(text) {}
  template <typename Number>
  requires std::is_arithmetic_v<Number> LogField(std::string_view field_key, Number number)
      : key(field_key), value(std::to_string(number)) {}

  std::string key = {};
  std::string value = {};
};

/// Where log lines go. Implementations must be safe from any thread and never throw.
class LogSink {
 public:
  virtual ~LogSink() = default;
  virtual void write(LogLevel level, std::string_view text, const std::vector<LogField>& fields) noexcept = 0;
};

/// The process's log: text plus fields, one line each, on standard error unless another sink is set.
///
/// Shape:   fields print as key=value; control characters and invalid UTF-8 are escaped, so that the content of a
///          message cannot forge a line. Never payloads, never secrets.
/// Threads: any. set_log_sink() before other threads start.
/// Errors:  never throws.
void log(LogLevel level, std::string_view text, std::initializer_list<LogField> fields = {}) noexcept;
void set_log_sink(std::shared_ptr<LogSink> sink);
void set_log_level(LogLevel level);

/// `text` with control characters and invalid UTF-8 written as \xNN, at most `limit` bytes.
[[nodiscard]] std::string printable(std::string_view text, std::size_t limit = 256);

}  // namespace oncemark
