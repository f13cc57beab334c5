#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>

#include <oncemark/inbox/hint.hpp>
#include <oncemark/mysql/pool.hpp>

namespace oncemark::inbox {

struct MemoryHintOptions {
  std::size_t max_marks = 100'000;  // the most recent are kept · a mark costs about 150 bytes and its business key ·
                                    // 2 to 100,000,000
  std::chrono::milliseconds epoch_interval{5'000};  // how often the epoch is read from MySQL: a new one takes effect
                                                    // after that at the latest · 10 ms to 1 h

  /// Throws ConfigError naming the field.
  void validate() const;
};

/// A SeenHint in the memory of the process: what this process has done or met as done lately.
///
/// Shape:   the marks used last, at least half of max_marks and at most all. Several Dedups may share one. It knows
///          nothing of what other instances did, nor of what came before the process began: it answers copies that come
///          soon after, as from a producer that resends or a topic that is mirrored twice, and no redelivery after a
///          crash.
/// Threads: as SeenHint; nothing in it waits for a server. A background thread reads the epoch.
/// Errors:  the constructor throws ConfigError. While the epoch cannot be read it knows nothing.
/// Crash:   all is forgotten; the marks in MySQL are not.
/// Source:  design, decision 5; docs/redis.md.
class MemoryHint final : public SeenHint {
 public:
  /// `pool` is where the epoch lies: the database that the marks are in. A connection of its own is made for each
  /// reading.
  explicit MemoryHint(mysql::Pool& pool, MemoryHintOptions options = {});
  ~MemoryHint() override;
  MemoryHint(const MemoryHint&) = delete;
  MemoryHint& operator=(const MemoryHint&) = delete;

  [[nodiscard]] std::uint64_t epoch() const noexcept override;
  [[nodiscard]] std::vector<bool> seen(const std::string& consumer, std::span<const SeenMark> marks) noexcept override;
  void remember(const std::string& consumer, std::uint64_t epoch, std::span<const SeenMark> marks) noexcept override;
  [[nodiscard]] bool is_in_memory() const noexcept override { return true; }

 private:
  class Memory;
  std::unique_ptr<Memory> memory_;
};

}  // namespace oncemark::inbox
