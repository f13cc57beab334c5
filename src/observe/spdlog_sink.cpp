#include "observe/spdlog_sink.hpp"

#include <spdlog/logger.h>
#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/stdout_sinks.h>

#include "observe/log_line.hpp"

namespace oncemark {
namespace {

class SpdlogSink final : public LogSink {
 public:
  SpdlogSink() : logger_("oncemark", std::make_shared<spdlog::sinks::stderr_sink_mt>()) {
    // The level is part of the line: spdlog's own name for it would be "warning".
    logger_.set_formatter(
        std::make_unique<spdlog::pattern_formatter>("%Y-%m-%dT%H:%M:%S.%eZ %v", spdlog::pattern_time_type::utc));
    logger_.set_level(spdlog::level::trace);
    logger_.flush_on(spdlog::level::trace);
  }

  void write(LogLevel level, std::string_view text, const std::vector<LogField>& fields) noexcept override {
    try {
      const std::string line = format_log_line(level, text, fields);
      logger_.log(spdlog::level::info, spdlog::string_view_t(line.data(), line.size()));
    } catch (...) {  // no memory for the line
    }
  }

 private:
  spdlog::logger logger_;
};

}  // namespace

std::shared_ptr<LogSink> make_spdlog_sink() { return std::make_shared<SpdlogSink>(); }

}  // namespace oncemark
