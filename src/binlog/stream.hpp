#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string_view>

#include <oncemark/binlog/place.hpp>
#include <oncemark/mysql/pool.hpp>

#include "binlog/server.hpp"

namespace oncemark::binlog {

struct StreamOptions {
  std::uint32_t server_id = 0;                 // as a replica; unique among all that read this server · 0: random
  std::chrono::milliseconds heartbeat{1'000};  // the server says that it lives after so long without an event · > 0
};

/// A server's binlog from a place on, as packets.
///
/// Shape:   by GTID where the place has some, else by file and position. The connection is one of its own: TLS, account
///          and time-outs as in the pool's options. The client library carries the bytes and does nothing else.
/// Threads: one owner; cancel() from any thread.
/// Errors:  BinlogError{purged} when the server no longer has what follows the place; MysqlError otherwise, unavailable
///          when the connection is lost, or silent for three heartbeats. After either the stream is of no more use.
class Stream final {
 public:
  Stream(const mysql::PoolOptions& options, const ServerFacts& facts, const Place& from, StreamOptions stream);
  ~Stream();
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  /// The next packet; waits for it, a heartbeat at most. The bytes live until the next call.
  [[nodiscard]] std::string_view read();
  /// Ends a read() that waits, and every later one, with an error.
  void cancel() noexcept;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace oncemark::binlog
