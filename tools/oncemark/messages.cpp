#include "messages.hpp"

#include <iostream>
#include <memory>
#include <string>

#include <oncemark/observe/log.hpp>

namespace oncemark::tools {
namespace {

constexpr std::string_view kClearLine = "\r\x1b[K";

std::mutex mutex;
bool has_progress_line = false;  // guarded by mutex

class MessageSink final : public LogSink {
 public:
  void write(LogLevel level, std::string_view text, const std::vector<LogField>& fields) noexcept override {
    try {
      if (level < LogLevel::warn) return;
      std::string line(level == LogLevel::warn ? "warning: " : "error: ");
      line += printable(text, 1'000);
      for (const LogField& field : fields) line += ' ' + field.key + '=' + printable(field.value, 1'000);
      say(line);
    } catch (...) {  // no memory for the line
    }
  }
};

}  // namespace

void log_as_messages() { set_log_sink(std::make_shared<MessageSink>()); }

void say(std::string_view text) {
  const std::lock_guard lock(mutex);
  if (has_progress_line) std::cerr << kClearLine;
  has_progress_line = false;
  std::cerr << text << '\n' << std::flush;
}

void show_progress(std::string_view line) {
  const std::lock_guard lock(mutex);
  if (line.empty() && !has_progress_line) return;
  has_progress_line = !line.empty();
  std::cerr << kClearLine << line << std::flush;
}

}  // namespace oncemark::tools
