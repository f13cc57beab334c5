#include "kafka/client_log.hpp"

#include <syslog.h>

namespace oncemark::kafka {
namespace {

constexpr std::uint64_t kLinesPerWindow = 5;
constexpr std::chrono::seconds kWindow{30};

LogLevel level_of(int syslog_level) noexcept {
  if (syslog_level <= LOG_WARNING) return LogLevel::warn;
  return syslog_level <= LOG_INFO ? LogLevel::info : LogLevel::debug;
}

void on_log(const rd_kafka_t* client, int level, const char* facility, const char* text) noexcept {
  // Before the client is complete there is nobody to tell.
  auto* log = client ? static_cast<ClientLog*>(rd_kafka_opaque(client)) : nullptr;
  if (!log) return;
  try {
    log->write(level, facility, text);
  } catch (...) {  // out of memory: a log line is not worth more
  }
}

// Connection errors come here too, but each was a log line before. What is left says that it is all of them, and which
// of them time will not heal.
void on_error(rd_kafka_t*, int code, const char* text, void* opaque) noexcept {
  if (code == RD_KAFKA_RESP_ERR__AUTHENTICATION || code == RD_KAFKA_RESP_ERR__SSL) {
    static_cast<ClientLog*>(opaque)->note_refusal(code);
  }
  if (code != RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN) return;
  try {
    static_cast<ClientLog*>(opaque)->write(LOG_ERR, "DOWN", text);
  } catch (...) {
  }
}

}  // namespace

void ClientLog::attach(rd_kafka_conf_t* conf) noexcept {
  rd_kafka_conf_set_opaque(conf, this);
  rd_kafka_conf_set_log_cb(conf, &on_log);
  rd_kafka_conf_set_error_cb(conf, &on_error);
}

void ClientLog::write(int syslog_level, const std::string& facility, const std::string& text) {
  // TERMINATE counts the records that discard() dropped on purpose.
  const LogLevel level = facility == "TERMINATE" ? LogLevel::debug : level_of(syslog_level);
  std::uint64_t dropped = 0;
  if (level != LogLevel::debug) {
    const std::lock_guard lock(mutex_);
    if (facility == "FAIL") last_failure_ = text;
    if (!admit(facility, dropped)) return;
  }
  log(level, text, {{"client", client_}, {"facility", facility}, {"dropped", dropped}});
}

std::string ClientLog::last_failure() const {
  const std::lock_guard lock(mutex_);
  return last_failure_;
}

bool ClientLog::admit(const std::string& facility, std::uint64_t& dropped) {
  Window& window = windows_[facility];
  const auto now = std::chrono::steady_clock::now();
  if (window.lines == 0 || now - window.since >= kWindow) {
    dropped = window.lines > kLinesPerWindow ? window.lines - kLinesPerWindow : 0;
    window = {now, 0};
  }
  return ++window.lines <= kLinesPerWindow;
}

}  // namespace oncemark::kafka
