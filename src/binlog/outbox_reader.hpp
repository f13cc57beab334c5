#pragma once

#include <functional>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include <oncemark/mysql/session.hpp>

#include "binlog/event.hpp"
#include "outbox/relay_rows.hpp"

namespace oncemark::binlog {

inline constexpr std::string_view kOutboxTable = "outbox_message";

/// A row of outbox_message as its INSERT shows it.
struct InsertedRow {
  std::string relay;
  bool is_pending = false;  // else it waits for its time
  outbox::OutboxRow row;    // of a pending one
};

/// Reads inserts into outbox_message.
///
/// Shape:   by the order of the columns, which migrations never change: new ones come last.
/// Errors:  BinlogError{unsupported} when the table is not the one that this library has made, or its rows are not
///          logged in full.
class OutboxReader final {
 public:
  OutboxReader();
  using Take = std::function<void(InsertedRow)>;
  void read(const RowsEvent& event, const Take& take);
  /// Adds the relays that the event has pending rows of: cheaper.
  void note_relays(const RowsEvent& event, std::set<std::string, std::less<>>& relays);

 private:
  void know(const std::shared_ptr<const TableMap>& map);
  static void check(const TableMap& map);

  std::vector<bool> wanted_;
  std::vector<bool> wanted_for_bell_;
  std::shared_ptr<const TableMap> checked_;
};

/// Compares the columns of the table with those that the reader takes for granted.
void check_outbox_columns(mysql::Session& session);

}  // namespace oncemark::binlog
