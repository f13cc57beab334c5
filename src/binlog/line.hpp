#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <future>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include <oncemark/binlog/place.hpp>
#include <oncemark/binlog/relay.hpp>
#include <oncemark/core/clock.hpp>
#include <oncemark/message/ports.hpp>

#include "binlog/gtid_set.hpp"
#include "outbox/dispatch.hpp"
#include "outbox/relay_rows.hpp"

namespace oncemark::binlog {

/// How far everything is settled.
struct Progress {
  std::string file;
  std::uint64_t position = 0;
  GtidSet gtids{Flavor::mysql};

  [[nodiscard]] Place place() const { return {.file = file, .position = position, .gtids = gtids.str()}; }
};

/// What becomes of a row that was not acked.
enum class Lost {
  kept,          // the table has it still
  written_down,  // the line puts it back into the table
  held,          // nothing is settled behind it, and the reader goes back to the checkpoint
};

struct LineOptions {
  std::string name;  // of the checkpoint
  std::string relay;
  std::size_t batch = 2'000;
  std::chrono::milliseconds report_timeout{10'000};
  outbox::SentRows sent_rows = outbox::SentRows::kept;
  Lost lost = Lost::kept;
};

/// What is on its way to the broker, in the order of the log, and what of it is settled.
///
/// Shape:   rows and, between them, the places where transactions end. What is acked at the front leaves the line: its
///          rows are marked by one statement, and the checkpoint moves to the last place that left with them, in one
///          transaction. Marking runs beside sending.
/// Threads: the relay's; marking runs on a thread and a connection of its own.
/// Errors:  MysqlError, and what the sink and `keep_alive` throw; discard() must follow.
/// Crash:   what was acked and not marked is sent again.
class Line final {
 public:
  Line(mysql::Pool& pool, Sink& sink, LineOptions options, Metrics& metrics, outbox::LiveCounts& counts,
       std::function<void()> keep_alive);

  /// To be called before the first row: where the reader starts.
  void start_from(Progress progress);
  [[nodiscard]] const Progress& settled() const noexcept { return progress_; }

  [[nodiscard]] bool has_room() const noexcept;
  [[nodiscard]] bool is_empty() const noexcept { return entries_.empty() && owed_.empty() && !marking_.valid(); }
  /// Whether every report so far was an ack.
  [[nodiscard]] bool is_sound() const noexcept { return is_sound_; }
  /// Of the first that was none.
  [[nodiscard]] const std::string& error() const noexcept { return error_; }

  /// Hands the row over. False when the sink takes nothing for as long as a report may take; the row is then left.
  bool send(outbox::OutboxRow row, const std::stop_token& stop);
  /// Has the row in the line without sending it: the table keeps it, or, where rows pass, has it again.
  void leave(outbox::OutboxRow row);
  /// A transaction ends here.
  void end_at(std::string file, std::uint64_t position, GtidSet gtids);

  /// Takes reports, waiting at most `wait` for the first, and marks what is worth it.
  void pump(std::chrono::milliseconds wait);
  /// Waits for the reports that are open, for as long as one may take, and settles everything. What was not acked is
  /// left. True when something was.
  bool drain(const std::stop_token& stop);
  /// Gives up what is in flight: nothing more is settled.
  void discard();

 private:
  enum class State { in_flight, acked, left, place };
  /// Thousands are held, so that each is small.
  struct Entry {
    State state = State::in_flight;
    std::uint64_t id = 0;                    // of a row
    std::unique_ptr<outbox::OutboxRow> row;  // where rows pass: it may have to be written down
    std::unique_ptr<Progress> end;           // of a place
  };

  void add(outbox::OutboxRow row, State state);
  std::size_t take_reports(std::chrono::milliseconds wait);
  void advance();
  void mark_some();
  void start_marking();
  void finish_marking();
  void settle();
  void write_down(mysql::Session& session, const std::vector<outbox::OutboxRow>& rows) const;
  [[nodiscard]] bool is_worth_marking() const;

  Sink& sink_;
  const LineOptions options_;
  Metrics& metrics_;
  outbox::LiveCounts& counts_;
  const std::function<void()> keep_alive_;
  outbox::RelayRows marker_;  // used by marking_ alone

  std::deque<Entry> entries_;
  std::uint64_t first_ = 0;    // number of the front: a token is the number of its entry
  std::size_t in_flight_ = 0;  // entries without a report
  std::size_t rows_ = 0;       // entries that are rows
  bool is_sound_ = true;
  std::string error_;
  Progress progress_;                         // up to the front of the line
  bool has_moved_ = false;                    // progress_ lies behind the checkpoint
  std::vector<std::uint64_t> owed_;           // acked, not yet marked
  std::vector<outbox::OutboxRow> unwritten_;  // left, where rows pass: not yet in the table
  SteadyTime owed_since_{};
  SteadyTime saved_{};  // when the checkpoint was
  std::future<void> marking_;
};

}  // namespace oncemark::binlog
