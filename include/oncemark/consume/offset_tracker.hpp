#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>

namespace oncemark::consume {

/// Of one partition: the highest offset below which every record that was read is settled.
///
/// Shape:   offsets are started in rising order, with gaps where the log has none (compaction, transaction markers),
///          and finished in any order. committable() is the next offset to read after a restart.
/// Threads: one at a time; the runner guards it.
/// Errors:  MisuseError for an offset started twice or backwards, or finished without having been started.
class OffsetTracker {
 public:
  void start(std::int64_t offset);
  void finish(std::int64_t offset);
  /// Nothing before the first start().
  [[nodiscard]] std::optional<std::int64_t> committable() const noexcept;
  /// The highest offset that was started; -1 when there is none.
  [[nodiscard]] std::int64_t last_started() const noexcept { return next_ < 0 ? -1 : next_ - 1; }
  [[nodiscard]] std::size_t in_flight() const noexcept { return in_flight_; }

 private:
  struct Entry {
    std::int64_t offset = 0;
    bool is_finished = false;
  };
  std::deque<Entry> records_;  // in the order of offsets; the first one is unfinished
  std::int64_t next_ = -1;     // one past the last one started
  std::size_t in_flight_ = 0;
};

}  // namespace oncemark::consume
