#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "binlog/event.hpp"

namespace oncemark::binlog {

/// How a group of events ended.
enum class Outcome {
  committed,
  open,  ///< prepared (XA), rolled back in part, or cut off: what its rows say may have happened, now or later, or not
  discarded,  ///< rolled back: its rows never happened
};

struct GroupEnd {
  Outcome outcome = Outcome::committed;
  bool settles_xa = false;  // "XA COMMIT": rows of an earlier group are true from here on
  Gtid gtid;
  std::string file;  // of the place behind the group
  std::uint64_t position = 0;
};

/// Finds out which rows belong to which transaction, and where in the log each one ends.
///
/// Threads: one owner.
/// Errors:  whatever the callbacks throw.
class GroupReader final {
 public:
  struct Callbacks {
    std::function<void(const RowsEvent&)> rows;
    /// A statement that is no transaction's bracket: what defines tables, or a change that is not logged as rows.
    std::function<void(const Query&)> statement;
    std::function<void(const GroupEnd&)> end;
  };
  explicit GroupReader(Callbacks callbacks) : callbacks_(std::move(callbacks)) {}

  void take(const EventHeader& header, const Event& event);

  /// What has been read so far, the group that is open included.
  [[nodiscard]] const std::string& file() const noexcept { return file_; }
  [[nodiscard]] std::uint64_t position() const noexcept { return position_; }
  /// Of the open group; a group without a name has the place where it begins.
  [[nodiscard]] const Gtid& gtid() const noexcept { return gtid_; }
  [[nodiscard]] std::uint64_t began_at() const noexcept { return began_at_; }
  /// When the event that is being taken was written: seconds since the epoch.
  [[nodiscard]] std::uint32_t time() const noexcept { return time_; }
  /// Whether rows of the open group may turn out to be void: see Outcome::open.
  [[nodiscard]] bool is_doubtful() const noexcept { return is_doubtful_; }

 private:
  void advance(const EventHeader& header);
  void begin(const Gtid& gtid);
  void query(const Query& query);
  void end(Outcome outcome, bool settles_xa = false);

  Callbacks callbacks_;
  std::string file_;
  std::uint64_t position_ = 0;
  std::uint32_t time_ = 0;
  std::uint64_t began_at_ = 0;
  Gtid gtid_;
  bool is_open_ = false;      // a group has begun and not ended
  bool has_begun_ = false;    // it is one with an end of its own
  bool is_doubtful_ = false;  // its rows may be void
};

/// The first words of a statement in upper case, comments and space before them removed: at most `count`.
[[nodiscard]] std::string leading_words(std::string_view statement, std::size_t count);

}  // namespace oncemark::binlog
