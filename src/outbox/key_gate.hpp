#pragma once

#include <cstddef>
#include <cstdint>
#include <unordered_map>
#include <vector>

#include "outbox/relay_rows.hpp"

namespace oncemark::outbox {

/// Which keys wait behind a row that did not get through, and so which pending rows a poll passes over.
///
/// Shape:   a key is closed while one of its rows is failing, or set aside; the first of these is its head. Pending
///          rows that were found to be of a closed key are remembered by id until the key opens again, so that ten
///          thousand of them cost their index entries and no look at the table.
/// Threads: one owner. Pure memory: anything in it can be thrown away and read again.
/// Errors:  none.
class KeyGate final {
 public:
  /// Those of the failing rows whose keys it has not been told yet.
  [[nodiscard]] std::vector<std::uint64_t> unknown(const std::vector<FailingRow>& failing) const;
  /// These rows are failing now and no others. `learnt`: the keys of the unknown ones; without a key a row is ignored.
  void set_failing(std::vector<FailingRow> failing, const std::vector<RowKey>& learnt);
  /// The failing rows that may be tried again: due, of one of `shards`, the first of their key. Ascending.
  [[nodiscard]] std::vector<std::uint64_t> due_heads(const std::vector<int>& shards, std::size_t limit) const;

  /// Passes over these rows and their keys for a while, whatever the table says.
  void set_aside(const std::vector<RowKey>& rows);
  [[nodiscard]] const std::vector<RowKey>& aside() const noexcept { return aside_; }
  void clear_aside();

  [[nodiscard]] bool is_open() const noexcept { return closed_.empty() && waiting_.empty(); }
  [[nodiscard]] bool is_closed(std::uint64_t key) const { return closed_.contains(key); }
  /// Whether the row was found waiting before.
  [[nodiscard]] bool is_waiting(std::uint64_t id) const { return waiting_.contains(id); }
  /// Whether the row may be sent; if not, it is remembered as waiting.
  [[nodiscard]] bool lets_pass(const RowKey& row);
  [[nodiscard]] std::size_t waiting() const noexcept { return waiting_.size(); }
  [[nodiscard]] std::size_t failing() const noexcept { return failing_.size(); }
  void forget_waiting();

 private:
  struct Failing {
    RowKey row;
    bool is_due;
  };
  [[nodiscard]] const RowKey* find(std::uint64_t id) const;
  void close_keys();

  std::vector<Failing> failing_;  // ascending ids
  std::vector<RowKey> aside_;
  std::unordered_map<std::uint64_t, std::uint64_t> closed_;  // key hash to its head
  std::unordered_map<std::uint64_t, KeyHash> waiting_;       // row id to its key; none for a row set aside without key
};

}  // namespace oncemark::outbox
