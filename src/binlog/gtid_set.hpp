#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "binlog/event.hpp"

namespace oncemark::binlog {

/// Which of the two families of servers: their GTIDs, and a few statements, differ.
enum class Flavor { mysql, mariadb };

/// The transactions that have been read, by their GTIDs.
///
/// Shape:   MySQL: for each source (a server's UUID, with its tag) the intervals of its numbers. MariaDB: for each
///          domain its last transaction, which stands for all before it.
/// Threads: a value.
/// Errors:  parse() throws BinlogError{malformed}.
class GtidSet {
 public:
  explicit GtidSet(Flavor flavor) : flavor_(flavor) {}
  /// Reads what the server prints (@@gtid_executed, BINLOG_GTID_POS) and what str() wrote.
  [[nodiscard]] static GtidSet parse(Flavor flavor, std::string_view text);

  void add(const Gtid& gtid);
  void add(const GtidSet& others);
  [[nodiscard]] bool is_empty() const noexcept { return sources_.empty() && domains_.empty(); }
  [[nodiscard]] std::string str() const;
  /// As COM_BINLOG_DUMP_GTID takes it; MySQL only.
  [[nodiscard]] std::string encoded() const;

 private:
  using Interval = std::pair<std::uint64_t, std::uint64_t>;  // first, and one past the last
  struct Last {
    std::uint32_t server = 0;
    std::uint64_t number = 0;
  };
  void parse_source(std::string_view text);
  void add_interval(std::vector<Interval>& intervals, Interval added);

  Flavor flavor_;
  std::map<std::string, std::vector<Interval>> sources_;  // by UUID and tag; ascending, with gaps between them
  std::map<std::uint32_t, Last> domains_;
};

}  // namespace oncemark::binlog
