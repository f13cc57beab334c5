#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include <oncemark/binlog/place.hpp>
#include <oncemark/binlog/relay.hpp>
#include <oncemark/mysql/pool.hpp>

#include "binlog/decoder.hpp"
#include "binlog/group_reader.hpp"
#include "binlog/stream.hpp"
#include "outbox/relay_rows.hpp"

namespace oncemark::binlog {

/// A piece of the log as the relay sees it: rows that were inserted, in the order of their commits.
struct Chunk {
  std::vector<outbox::OutboxRow> rows;
  std::size_t bytes = 0;
  std::string file;  // of the place behind it
  std::uint64_t position = 0;
  GtidSet gtids{Flavor::mysql};  // of the groups that end with it
  bool is_at_end = false;        // it ends a group: a reader may go on from its place
  bool needs_scan = false;       // rows may have been committed that only the table can tell
  bool settles_xa = false;       // the same, of a group that came by earlier
};

/// What a reader takes out of the log; called on the feed's thread.
struct FeedHooks {
  using Push = std::function<void(outbox::OutboxRow)>;
  Decoder::Wants wants;
  std::function<void(const RowsEvent&, const GroupReader&, const Push&)> read;
  std::function<bool(const Query&)> needs_scan;  // whether a statement may have done what rows should show
};

struct FeedOptions {
  std::string name;                     // for the log
  std::size_t most_bytes = 4u << 20;    // held ahead of whoever takes them
  std::size_t largest_held = 2u << 20;  // of one transaction, before its end is known
  StreamOptions stream = {};
};

/// Hooks for the pending rows of a relay.
[[nodiscard]] FeedHooks outbox_hooks(const std::string& schema, const std::string& relay, Rows rows);

/// Reads a server's binlog ahead of the relay, on a thread of its own.
///
/// Shape:   rows of a transaction are held until its end is seen, as far as they fit, so that what was rolled back is
///          not handed on. Groups without rows of ours cost nothing: they only move the place.
/// Threads: one owner; the reader's thread is inside.
/// Errors:  next() throws what ended the reader, once all that came before it has been taken: BinlogError, MysqlError.
class Feed final {
 public:
  Feed(const mysql::PoolOptions& options, const ServerFacts& facts, const Place& from, FeedHooks hooks,
       FeedOptions feed);
  ~Feed();
  Feed(const Feed&) = delete;
  Feed& operator=(const Feed&) = delete;

  /// The next pieces, until they have so many rows or there are no more for now; none within `wait`.
  [[nodiscard]] std::vector<Chunk> next(std::chrono::milliseconds wait, std::size_t most_rows);

 private:
  void run() noexcept;
  void rows(const RowsEvent& event);
  void statement(const Query& query);
  void end(const GroupEnd& ended);
  void flush();
  void hand_on(Chunk chunk);

  const FeedHooks hooks_;
  const FeedOptions options_;
  const Flavor flavor_;
  Stream stream_;
  GroupReader groups_;
  Decoder decoder_;
  Chunk open_;               // of the group that is being read
  bool is_flushed_ = false;  // a part of it was handed on

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Chunk> ready_;     // guarded by mutex_
  std::size_t bytes_ = 0;       // guarded by mutex_: of ready_
  std::exception_ptr failure_;  // guarded by mutex_
  bool is_stopping_ = false;    // guarded by mutex_
  std::thread thread_;          // last: it uses all of the above
};

}  // namespace oncemark::binlog
