#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include <oncemark/core/clock.hpp>
#include <oncemark/mysql/pool.hpp>

namespace oncemark::reconcile {

/// How time and keys are cut into buckets: both sides of a comparison use the same grid.
///
/// Shape:   a bucket is one minute of event time, and in it one of `slices` parts of the keys. Buckets are numbered
///          from 0: minute · slices + slice.
struct Grid {
  Time from{};                // a whole minute
  std::uint32_t minutes = 0;  // [from, from + minutes)
  std::uint32_t slices = 1;   // a power of two, at most 4,096

  [[nodiscard]] std::uint32_t buckets() const noexcept { return minutes * slices; }
  [[nodiscard]] Time until() const noexcept { return from + std::chrono::minutes(minutes); }
  [[nodiscard]] Time minute_of(std::uint32_t bucket) const noexcept {
    return from + std::chrono::minutes(bucket / slices);
  }
  /// Throws MisuseError for one that cannot be used: more than kMostBuckets, slices that are no power of two.
  void validate() const;

  bool operator==(const Grid&) const = default;
};
inline constexpr std::uint32_t kMostBuckets = 1u << 22;

/// What a bucket holds: how many messages, and checksums of their keys and of their contents.
struct Sum {
  std::uint64_t count = 0;
  std::uint64_t keys = 0;      // over the business keys
  std::uint64_t contents = 0;  // over business keys and payload hashes
  std::uint64_t hashed = 0;    // messages whose payload hash is known

  void add(const Sum& other) noexcept {
    count += other.count;
    keys ^= other.keys;
    contents ^= other.contents;
    hashed += other.hashed;
  }
  bool operator==(const Sum&) const = default;
};

/// A piece of a table, in order of its primary key: where a bucket's messages lie need not be searched everywhere.
struct Stretch {
  std::string after = {};  // a key, or an id in decimal
  std::string up_to = {};  // included
};

/// The buckets of one topic.
struct Buckets {
  std::vector<Sum> sums;
  std::vector<std::uint16_t> first;  // for each bucket the first and the last stretch with a message of it
  std::vector<std::uint16_t> last;
};

/// One side, by topic.
///
/// Shape:   its size follows the number of buckets, not that of messages.
struct Digest {
  Grid grid = {};
  std::map<std::string, Buckets, std::less<>> topics = {};
  std::vector<Stretch> stretches = {};

  [[nodiscard]] std::uint64_t count(std::string_view topic) const;
};

enum class Contents { compared, ignored };

/// Digests business rows of the outbox that were sent.
///
/// Shape:   reads the whole table once, in stretches of up to two million rows, each by one statement that the
///          server adds up: only sums travel. `topics` empty: all of them.
/// Threads: any; one connection of the pool. Locks nothing.
/// Errors:  MysqlError; Error{unavailable} when stopped half-way.
[[nodiscard]] Digest digest_sent(mysql::Pool& pool, const Grid& grid, const std::vector<std::string>& topics,
                                 std::stop_token stop = {});
/// The same for what a consumer has a state row of, whatever the state.
[[nodiscard]] Digest digest_settled(mysql::Pool& pool, const std::string& consumer, const Grid& grid,
                                    const std::vector<std::string>& topics, std::stop_token stop = {});

/// The buckets from `first` on that differ, in rising order. Pure.
///
/// Shape:   contents count where the payload hash of every message of both is known.
[[nodiscard]] std::vector<std::uint32_t> differing(const Buckets* sent, const Buckets* settled, const Grid& grid,
                                                   std::uint32_t first, Contents contents);

/// How many slices suit tables of so many rows: buckets of a few dozen messages, and no more buckets than that needs.
[[nodiscard]] std::uint32_t suitable_slices(std::uint64_t rows, std::uint32_t minutes) noexcept;

}  // namespace oncemark::reconcile
