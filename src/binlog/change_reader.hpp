#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <oncemark/binlog/capture.hpp>

#include "binlog/condition.hpp"
#include "binlog/feed.hpp"
#include "binlog/row_json.hpp"

namespace oncemark::binlog {

/// Makes messages of the changes of captured tables.
///
/// Threads: the feed's.
/// Errors:  BinlogError{unsupported} when a table is not as the server describes it now: it was altered since.
class ChangeReader final {
 public:
  ChangeReader(mysql::Pool& pool, const CaptureOptions& options, Flavor flavor, std::atomic<std::uint64_t>& filtered);

  [[nodiscard]] bool wants(std::string_view schema, std::string_view table) const;
  void read(const RowsEvent& event, const GroupReader& group, const FeedHooks::Push& push);
  /// Whether a statement changes rows of a captured table: never without an exception.
  bool check(const Query& query) const;

 private:
  struct Table {
    const CapturedTable* captured = nullptr;
    std::vector<Condition> where;
    std::shared_ptr<const TableMap> map;  // that the rest belongs to
    std::vector<ColumnFacts> columns;
    std::vector<bool> chosen;  // empty: all
    std::size_t key = 0;
    bool has_key = false;
  };
  [[nodiscard]] static bool is_wanted(const Table& table, RowChange& change, const RowReader& rows);
  void learn(Table& table, const std::shared_ptr<const TableMap>& map);
  outbox::OutboxRow to_row(const Table& table, const RowChange& change, const RowReader& rows,
                           const GroupReader& group);
  [[nodiscard]] std::string group_name(const GroupReader& group) const;

  mysql::Pool& pool_;
  const CaptureOptions& options_;
  const Flavor flavor_;
  std::atomic<std::uint64_t>& filtered_;
  std::map<std::string, Table, std::less<>> tables_;
  std::string group_;         // whose rows are being numbered
  std::uint64_t number_ = 0;  // of the row in the group
};

}  // namespace oncemark::binlog
