#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include <oncemark/binlog/place.hpp>
#include <oncemark/message/ports.hpp>
#include <oncemark/mysql/pool.hpp>
#include <oncemark/observe/metrics.hpp>
#include <oncemark/outbox/relay.hpp>

namespace oncemark::binlog {

/// What producers do with the rows of this relay.
enum class Rows {
  stay,  ///< they stay in the table: the relay marks (or removes) them, and finds there what the binlog does not show
  pass,  ///< append_in_passing() removes them in the transaction that inserts them: only the binlog has seen them
};

/// Where a relay begins.
enum class Start {
  checkpoint,  ///< where it stood; without a checkpoint at the present end, and with what stands in the table
  now,         ///< at the present end, whatever the checkpoint says, and with what stands in the table
};

struct RelayOptions {
  outbox::RelayOptions outbox = {};  // as for a relay that polls; its intervals are those of looking into the table
  Rows rows = Rows::stay;  // stay: nothing can be lost with the binlog · pass: half the work, and a binlog that
                           // is gone before it was read is gone for good
  Start start = Start::checkpoint;  // now: the way past something in the binlog that cannot be read
  std::uint32_t server_id = 0;      // as a replica's, unique among all readers of the server · 0: random

  void validate() const;
};

struct RelayCounts {
  std::uint64_t sent = 0;     // acked and marked, out of the binlog or out of the table
  std::uint64_t refused = 0;  // refusals that counted an attempt
  std::uint64_t dead = 0;     // rows given up
  std::uint64_t scans = 0;    // of the table: for rows that were due, left behind, or missed by the binlog
  std::uint64_t gaps = 0;     // times that the binlog had been purged before it was read
  int shards = 0;             // held now: all or none
  Place place = {};           // all before it is settled
};

/// Carries outbox rows to the broker as the binlog shows them: in the order of their commits, without asking the table.
///
/// Shape:   a background thread, from construction to destruction, and one that reads the binlog. It holds all shards
///          of its name: a polling relay of that name is its stand-by, and takes over when it is gone; so is another
///          one of its kind. What was acked is marked in the transaction that moves the checkpoint. Rows that wait for
///          their time, were refused, or cannot be told from the binlog (XA, statements, a purged log) are sent by the
///          polling relay's own rounds, in between.
/// Threads: counts(), failure() from any thread. The Sink belongs to the relay alone. Uses six connections of its own.
/// Errors:  the constructor throws MisuseError for options. Outages are logged, counted and tried again. Something in
///          the binlog that cannot be read ends the relay: failure() says what, and Start::now is the way past it.
/// Crash:   what was sent and not marked is sent again (same message id), in the order of commits. With Rows::stay
///          nothing is lost whatever becomes of the binlog; with Rows::pass what was purged unread is.
/// Source:  design, decision 12; ADR 0014.
class Relay final {
 public:
  Relay(mysql::Pool& pool, Sink& sink, RelayOptions options = {}, Metrics& metrics = Metrics::none());
  ~Relay();
  Relay(const Relay&) = delete;
  Relay& operator=(const Relay&) = delete;

  /// Finishes what is in flight, gives up the lease and ends the threads. The destructor does the same.
  void stop();
  [[nodiscard]] RelayCounts counts() const;
  /// Why the relay has ended by itself; nothing while it works or tries to.
  [[nodiscard]] std::optional<std::string> failure() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// Sets the checkpoint of that relay to the present end of the binlog: what is committed before is left to the table.
///
/// Threads: any. Must not be called while the relay runs.
/// Errors:  BinlogError{unsupported}, MysqlError.
Place set_checkpoint_now(mysql::Pool& pool, const std::string& relay = std::string(outbox::kMainRelay));

}  // namespace oncemark::binlog
