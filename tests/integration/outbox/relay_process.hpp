#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include <sys/types.h>

#include "support/temp_schema.hpp"

namespace oncemark::outbox {

/// The relay_worker as a child process, so that a relay can be killed and paused. Its sink appends a line per record
/// to a file, which is the topic; with "kafka" in the place of the file it is a producer of the stack's broker.
///
/// Errors:  std::system_error when no process can be made.
class RelayProcess final {
 public:
  /// `fault`: as in ONCEMARK_FAULT, may be empty. With `direct_rows` it sends so many rows directly, and is no relay.
  /// `source`: what the relay reads, poll or binlog.
  RelayProcess(const testing::TempSchema& schema, const std::filesystem::path& topic, const std::string& fault = "",
               int direct_rows = 0, const std::string& source = "poll");
  /// Kills it, if it still runs.
  ~RelayProcess();
  RelayProcess(const RelayProcess&) = delete;
  RelayProcess& operator=(const RelayProcess&) = delete;

  void signal(int number);
  /// Whether it is stopped, as by SIGSTOP.
  [[nodiscard]] bool is_stopped() const;
  /// Waits for its end; the signal that ended it, or 0.
  int wait();

 private:
  pid_t pid_;
};

/// A file that a relay process may write to, gone at the end of its life.
class TopicFile final {
 public:
  TopicFile();
  ~TopicFile();
  TopicFile(const TopicFile&) = delete;
  TopicFile& operator=(const TopicFile&) = delete;

  [[nodiscard]] const std::filesystem::path& path() const noexcept { return path_; }
  [[nodiscard]] std::size_t records() const;
  /// Payloads by key, in the order in which they were written, copies included.
  [[nodiscard]] std::map<std::string, std::vector<int>> by_key() const;

 private:
  std::filesystem::path path_;
};

}  // namespace oncemark::outbox
