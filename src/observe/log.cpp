#include <oncemark/observe/log.hpp>

#include <atomic>
#include <cstdlib>
#include <mutex>
#include <utility>

#include "observe/log_line.hpp"
#include "observe/spdlog_sink.hpp"

namespace oncemark {
namespace {

struct State {
  std::atomic<LogLevel> level{LogLevel::info};
  std::mutex mutex;
  std::shared_ptr<LogSink> sink = make_spdlog_sink();  // guarded by mutex

  State() {
    const char* name = std::getenv("ONCEMARK_LOG");
    if (name == nullptr || *name == '\0') return;
    if (const auto wanted = parse_log_level(name)) {
      level = *wanted;
    } else {
      sink->write(LogLevel::warn, "ONCEMARK_LOG is not debug, info, warn or error; logging at info", {{"value", name}});
    }
  }
};

// Never destroyed, so that destructors of statics can still log.
State& state() {
  static State& the_state = *new State;
  return the_state;
}

std::shared_ptr<LogSink> current_sink(State& in) {
  const std::lock_guard lock(in.mutex);
  return in.sink;
}

}  // namespace

void log(LogLevel level, std::string_view text, std::initializer_list<LogField> fields) noexcept {
  try {
    State& process = state();
    if (level < process.level.load(std::memory_order_relaxed)) return;
    current_sink(process)->write(level, text, fields);
  } catch (...) {  // no memory for the fields
  }
}

void set_log_sink(std::shared_ptr<LogSink> sink) {
  if (!sink) sink = make_spdlog_sink();
  State& process = state();
  const std::lock_guard lock(process.mutex);
  process.sink.swap(sink);
}

void set_log_level(LogLevel level) { state().level = level; }

}  // namespace oncemark
