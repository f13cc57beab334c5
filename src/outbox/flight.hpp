#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include <oncemark/message/ports.hpp>

#include "outbox/relay_rows.hpp"

namespace oncemark::outbox {

/// Where a row of the present round stands.
enum class Answer {
  none,     ///< handed over, no report yet
  acked,    ///< the broker has it
  refused,  ///< refused in company, which blames nobody; or of those that go alone from the start
  failed,   ///< may or may not be there
};

struct FlightRow {
  std::uint64_t id = 0;
  KeyHash key;
  Answer answer = Answer::none;
  std::string error;
  Refusal refusal = Refusal::record;  // when refused
};

/// The rows of one round that are not written down yet, and what has become of them.
///
/// Shape:   a delivery's token is the row's id.
/// Threads: one owner.
/// Errors:  none: a report for a row that is not in flight is ignored.
class Flight final {
 public:
  void add(FlightRow row);
  /// One of rows() is handed over once more.
  void reopen(FlightRow& row);
  /// Takes a report; true when the row is acked by it.
  bool apply(const Delivery& delivery);
  /// These are written down.
  void remove(const std::vector<std::uint64_t>& ids);
  /// No report will come for those that still lack one.
  void give_up(const std::string& why);
  void clear();

  [[nodiscard]] bool contains(std::uint64_t id) const { return rows_.contains(id); }
  [[nodiscard]] std::size_t size() const noexcept { return rows_.size(); }
  /// How many were handed over and have no report yet.
  [[nodiscard]] std::size_t open() const noexcept { return open_; }
  /// Whether every row was acked or may still be.
  [[nodiscard]] bool is_sound() const noexcept { return is_sound_; }
  [[nodiscard]] bool has(Answer answer) const noexcept;
  /// Ascending ids. The rows stay where they are until they are removed.
  [[nodiscard]] std::vector<FlightRow*> rows();

 private:
  std::unordered_map<std::uint64_t, FlightRow> rows_;
  std::size_t open_ = 0;
  bool is_sound_ = true;
};

}  // namespace oncemark::outbox
