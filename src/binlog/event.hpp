#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "binlog/row_image.hpp"
#include "binlog/table_map.hpp"

namespace oncemark::binlog {

/// What every event begins with.
struct EventHeader {
  std::uint32_t time = 0;  // seconds since the epoch, of the statement
  std::uint8_t type = 0;
  std::uint32_t server_id = 0;
  std::uint32_t size = 0;  // of the whole event
  std::uint32_t next = 0;  // position of what follows, modulo 2^32; 0 where there is none
  std::uint16_t flags = 0;

  [[nodiscard]] bool is_artificial() const noexcept { return (flags & 0x20) != 0; }
  [[nodiscard]] bool is_ignorable() const noexcept { return (flags & 0x80) != 0; }
};

/// The stream goes on in another file.
struct Rotate {
  std::string file;
  std::uint64_t position = 0;
};

struct FormatDescription {
  std::string server_version;
};

/// The name of the group of events that follows: a transaction, or a statement by itself.
struct Gtid {
  std::string source;          // MySQL: the server's 16 bytes, then the tag; MariaDB: empty
  std::uint32_t domain = 0;    // MariaDB
  std::uint32_t server = 0;    // MariaDB
  std::uint64_t number = 0;    // 0: anonymous
  bool is_standalone = false;  // MariaDB: the group is one event and has no end of its own
  bool is_prepared = false;    // MariaDB: an XA transaction that is only prepared
};

/// The text of a statement. Where rows are logged as rows: BEGIN, COMMIT and the like, and what defines tables.
struct Query {
  std::string schema;
  std::string text;
};

/// The transaction is committed.
struct Commit {};

/// The XA transaction is prepared; what becomes of it stands in a group of its own, later.
struct Prepared {};

enum class Operation { insert, update, remove };

/// Rows of one table that a statement has changed.
struct RowsEvent {
  Operation operation = Operation::insert;
  std::shared_ptr<const TableMap> map;
  ColumnBits before;  // columns in the images of rows before the change; for inserts those after it
  ColumnBits after;   // updates only
  std::string_view images;
};

/// Nothing that concerns anybody: what it was is in the header.
struct Ignored {};

using Event = std::variant<Ignored, Rotate, FormatDescription, Gtid, Query, Commit, Prepared, RowsEvent>;

/// The rows of an event, one by one.
///
/// Errors:  BinlogError.
class RowReader {
 public:
  /// `event` must outlive the reader; `wanted` as in read_image().
  RowReader(const RowsEvent& event, const std::vector<bool>& wanted)
      : event_(event), wanted_(wanted), images_(event.images) {}

  /// False at the end. Fills before() for updates and deletes, after() for inserts and updates.
  [[nodiscard]] bool next();
  [[nodiscard]] const std::vector<Field>& before() const noexcept { return before_; }
  [[nodiscard]] const std::vector<Field>& after() const noexcept { return after_; }

 private:
  const RowsEvent& event_;
  const std::vector<bool>& wanted_;
  Cursor images_;
  std::vector<Field> before_;
  std::vector<Field> after_;
};

}  // namespace oncemark::binlog
