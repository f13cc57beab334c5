#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "outbox/flight.hpp"
#include "outbox/key_gate.hpp"
#include "outbox/relay_rows.hpp"

namespace oncemark::outbox {

/// Chooses the rows of the next round: of every key the earliest unsent ones, or none.
///
/// Shape:   ascending ids, at most a batch. Failing rows whose backoff is over may take half of it, so that keys that
///          get through never wait for keys that do not. Waiting rows that have come due are promoted on the way.
/// Threads: the relay's.
/// Errors:  MysqlError.
class Window final {
 public:
  Window(RelayRows& rows, std::size_t batch) : rows_(rows), batch_(batch) {}

  [[nodiscard]] std::vector<std::uint64_t> next(const std::vector<int>& shards);
  /// What else could be sent while these are in flight.
  [[nodiscard]] std::vector<std::uint64_t> more(const std::vector<int>& shards, const Flight& flight) {
    return look(shards, flight);
  }
  [[nodiscard]] std::size_t size() const noexcept { return batch_; }
  /// What there is to do, by one statement that reads next to nothing. Learns which keys wait on the way.
  struct Glance {
    std::uint64_t first_pending = 0;  // of those that do not wait for their key; 0: none
    bool is_any_due = false;          // a row whose time has come: a waiting one, or a failing one
  };
  [[nodiscard]] Glance glance(const std::vector<int>& shards);
  /// Whether rows of that key wait behind one that did not get through.
  [[nodiscard]] bool is_closed(const KeyHash& key) const { return key && gate_.is_closed(*key); }
  /// Passes over these rows and their keys as long as there are others to try.
  void set_aside(const std::vector<RowKey>& rows) { gate_.set_aside(rows); }
  /// Those set aside, which are no longer.
  [[nodiscard]] std::vector<RowKey> take_aside();
  /// To be called when other shards are held than before.
  void forget_waiting() { gate_.forget_waiting(); }

 private:
  std::vector<std::uint64_t> look(const std::vector<int>& shards, const Flight& flight);
  std::vector<std::uint64_t> passing(const std::vector<std::uint64_t>& pending, std::size_t room);

  RelayRows& rows_;
  const std::size_t batch_;
  KeyGate gate_;
};

}  // namespace oncemark::outbox
