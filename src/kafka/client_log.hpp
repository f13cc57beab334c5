#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>

#include <librdkafka/rdkafka.h>

#include <oncemark/observe/log.hpp>

namespace oncemark::kafka {

/// Where a client's own log lines and errors go: into our log, a few of each sort at a time.
///
/// Shape:   the opaque of every client; what needs more state there derives from it. Errors become warnings: librdkafka
///          goes on by itself, and what does not heal reaches the caller as an exception or a report.
/// Threads: write() from librdkafka's threads.
class ClientLog {
 public:
  explicit ClientLog(std::string client) : client_(std::move(client)) {}
  virtual ~ClientLog() = default;
  ClientLog(const ClientLog&) = delete;
  ClientLog& operator=(const ClientLog&) = delete;

  /// Makes `conf` log here. The ClientLog must outlive the client.
  void attach(rd_kafka_conf_t* conf) noexcept;

  void write(int syslog_level, const std::string& facility, const std::string& text);
  /// Why the last connection failed, as librdkafka said it; empty when none did.
  [[nodiscard]] std::string last_failure() const;
  /// The code for a password or a certificate that was refused, on either side; 0 when none was.
  [[nodiscard]] int last_refusal() const noexcept { return last_refusal_.load(std::memory_order_relaxed); }
  void note_refusal(int code) noexcept { last_refusal_.store(code, std::memory_order_relaxed); }
  [[nodiscard]] const std::string& client() const noexcept { return client_; }

 private:
  struct Window {
    std::chrono::steady_clock::time_point since{};
    std::uint64_t lines = 0;
  };
  /// How many lines were dropped before this one, or nothing when this one is to be dropped too.
  [[nodiscard]] bool admit(const std::string& facility, std::uint64_t& dropped);

  const std::string client_;
  mutable std::mutex mutex_;
  std::map<std::string, Window> windows_;  // guarded by mutex_; by facility
  std::string last_failure_;               // guarded by mutex_
  std::atomic<int> last_refusal_{0};
};

}  // namespace oncemark::kafka
