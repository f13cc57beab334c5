#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <oncemark/binlog/place.hpp>
#include <oncemark/core/bytes.hpp>
#include <oncemark/core/clock.hpp>
#include <oncemark/message/ports.hpp>
#include <oncemark/mysql/pool.hpp>

namespace oncemark::binlog {

enum class Change { insert, update, remove };

/// One row of a table, before or after a change.
///
/// Shape:   values by column: numbers, decimals, dates and times as the server prints them (TIMESTAMP in UTC), strings
///          and blobs as their bytes, ENUM and SET as their words. Null where the value is NULL.
class Image {
 public:
  void add(std::string column, Bytes value) { values_.emplace_back(std::move(column), std::move(value)); }
  /// Nothing where the image does not have the column.
  [[nodiscard]] const Bytes* find(std::string_view column) const noexcept {
    for (const auto& [name, value] : values_) {
      if (name == column) return &value;
    }
    return nullptr;
  }
  [[nodiscard]] bool empty() const noexcept { return values_.empty(); }
  [[nodiscard]] auto begin() const noexcept { return values_.begin(); }
  [[nodiscard]] auto end() const noexcept { return values_.end(); }

 private:
  std::vector<std::pair<std::string, Bytes>> values_;
};

struct RowChange {
  Change change = Change::insert;
  std::string schema = {};
  std::string table = {};
  Image before = {};  // empty for inserts
  Image after = {};   // empty for deletes
};

/// Which changes of which table become messages.
struct CapturedTable {
  std::string table = {};                 // in the pool's schema
  std::string topic = {};                 // where to
  std::string key = {};                   // column whose value is the record's key, and its order · empty: no key
  std::vector<Change> changes = {};       // empty: all
  std::vector<std::string> columns = {};  // of the images · empty: all
  /// Conditions that must all hold: "after.state = 'paid'", "before.state <> 'paid'", "after.paid_at IS NOT NULL". Values
  /// are those of Image; as in SQL, NULL neither equals a text nor differs from it, and what an image lacks is NULL.
  std::vector<std::string> where = {};
  std::function<bool(const RowChange&)> predicate = {};  // sees all columns, on the reading thread · none: every change
};

struct CaptureOptions {
  std::string name = "main";               // of the checkpoint ("capture.NAME"), and in ids · [A-Za-z0-9._-], 1 to 90
  std::vector<CapturedTable> tables = {};  // at least one; each table once
  std::size_t batch = 2'000;  // rows between two checkpoints; four times as many are in flight · 1 to 10,000
  std::chrono::milliseconds report_timeout{10'000};  // for the broker's answer · > 0
  bool from_now = false;                             // start at the present end, whatever the checkpoint says
  std::uint32_t server_id = 0;                       // unique among all readers of the server · 0: random

  void validate() const;
};

struct CaptureCounts {
  std::uint64_t sent = 0;
  std::uint64_t filtered = 0;  // changes of captured tables that became no message
  Place place = {};            // all before it is sent
  bool is_reading = false;
};

/// Turns changes of tables into messages, without an outbox: change data capture.
///
/// Shape:   payload {"op", "schema", "table", "before", "after", "at", "place"} as JSON. In the images numbers are
///          numbers, decimals, dates, times and text are strings, JSON columns of MySQL are JSON, and bytes that are no
///          UTF-8 are {"base64": "…"}. The message id is made of the capture's name, the transaction's GTID (else its
///          place) and the number of the row in it: the same again when it is sent again by a capture of the same
///          tables. Order is that of commits. Needs binlog_row_metadata=FULL, beside what a binlog::Relay needs.
///          Not told: rows that were there before, TRUNCATE and DROP, and what foreign keys delete. Words of ENUM and
///          SET are those of the table as it is now. A record that the broker refuses holds up the checkpoint, and is
///          sent again, with all behind it, until it is taken: there is nowhere else that it is kept.
/// Threads: one of its own, and one that reads. The Sink belongs to the capture alone.
/// Errors:  the constructor throws MisuseError for options. Outages and refusals are logged and tried again. What cannot
///          be read ends the capture: a binlog that is gone, a table that was altered since its rows were written, XA
///          transactions on captured tables. failure() says why, and from_now is the way past it.
/// Crash:   changes since the checkpoint are sent again: at least once. A purged binlog loses what was in it.
/// Source:  design, decision 12; ADR 0014.
class Capture final {
 public:
  Capture(mysql::Pool& pool, Sink& sink, CaptureOptions options);
  ~Capture();
  Capture(const Capture&) = delete;
  Capture& operator=(const Capture&) = delete;

  /// Finishes what is in flight, gives up the lease and ends the threads. The destructor does the same.
  void stop();
  [[nodiscard]] CaptureCounts counts() const;
  /// Why the capture has ended by itself; nothing while it works or tries to.
  [[nodiscard]] std::optional<std::string> failure() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// How far the capture of a name has come, and the server.
struct CaptureStatus {
  int running = 0;                    // processes of that name on any machine, stand-bys too: by named locks, a hint
  std::optional<Place> place = {};    // all before it is sent · nothing: it has never begun
  std::optional<Time> moved_at = {};  // when the checkpoint last moved: at least once a minute while it works
  Place end = {};                     // of the server's binlog, now
};

/// Asks the tables and the server; the capture itself is not asked.
///
/// Threads: any; borrows a connection of the pool.
/// Errors:  MisuseError for a name that is none, BinlogError when the server has no binlog that could be read,
///          MysqlError.
[[nodiscard]] CaptureStatus ask_capture(mysql::Pool& pool, const std::string& name);

}  // namespace oncemark::binlog
