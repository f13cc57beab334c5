#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>

#include <oncemark/core/backoff.hpp>
#include <oncemark/inbox/hint.hpp>
#include <oncemark/mysql/pool.hpp>
#include <oncemark/observe/metrics.hpp>
#include <oncemark/redis/client.hpp>

namespace oncemark::inbox {

struct RedisHintOptions {
  redis::ClientOptions redis = {};   // connections: one a lane plus one
  std::chrono::seconds ttl{86'400};  // how long a hint lives · the time within which copies come; longer costs
                                     // memory · 1 s to 365 days
  std::size_t max_queued = 20'000;   // marks waiting to be written; what comes on top is dropped · memory, about
                                     // 200 bytes each · 1 to 10,000,000
  std::chrono::milliseconds epoch_interval{5'000};  // how often the epoch is read from MySQL: a new one takes effect
                                                    // after that at the latest · 10 ms to 1 h
  int failures = 3;  // errors in a row that take Redis out of the way; a lane waits for each · 1 to 1,000
  Backoff away{.initial = std::chrono::milliseconds(500),
               .factor = 2.0,
               .cap = std::chrono::milliseconds(30'000),
               .jitter = 0.5};  // for how long, until it is tried in the background

  /// Throws ConfigError naming the field.
  void validate() const;
};

struct RedisHintCounts {
  std::uint64_t looked_up = 0;  // marks that Redis answered about
  std::uint64_t written = 0;
  std::uint64_t dropped = 0;   // never written: the queue was full, Redis or the epoch away, the write refused
  std::uint64_t errors = 0;    // failed look-ups and writes, a whole group counting once
  std::uint64_t openings = 0;  // how often Redis was taken out of the way
  bool is_away = false;        // it is now
};

/// A SeenHint in Redis.
///
/// Shape:   key "om:{epoch, 16 hex digits}:{consumer}:{business key}", value the payload hash in decimal, with a TTL.
///          The business key is there as it is, not hashed: two that meet in a hash would hide a message. One MGET a
///          look-up; writes are SETs in pipelines, by one thread in the background.
/// Threads: as SeenHint. The background thread writes, reads the epoch, and tries a Redis that was taken out of the way,
///          so that no lane ever waits for such a try. The destructor writes what is queued, unless Redis fails, and
///          takes as long as what that thread is at: up to the time-outs of Redis or of the pool's connections.
/// Errors:  the constructor throws ConfigError. A Redis that is away, slow, full or refuses the login is logged and
///          counted, and never in the way for longer than `failures` time-outs a lane.
/// Crash:   between the COMMIT and the write: the hint is lost, the mark is not.
/// Source:  design, decision 5; docs/redis.md.
class RedisHint final : public SeenHint {
 public:
  /// `pool` is where the epoch lies: the database that the marks are in. A connection of its own is made for each
  /// reading.
  RedisHint(mysql::Pool& pool, RedisHintOptions options, Metrics& metrics = Metrics::none());
  ~RedisHint() override;
  RedisHint(const RedisHint&) = delete;
  RedisHint& operator=(const RedisHint&) = delete;

  [[nodiscard]] std::uint64_t epoch() const noexcept override;
  [[nodiscard]] std::vector<bool> seen(const std::string& consumer, std::span<const SeenMark> marks) noexcept override;
  void remember(const std::string& consumer, std::uint64_t epoch, std::span<const SeenMark> marks) noexcept override;

  [[nodiscard]] RedisHintCounts counts() const noexcept;

 private:
  class Engine;
  std::unique_ptr<Engine> engine_;
};

}  // namespace oncemark::inbox
