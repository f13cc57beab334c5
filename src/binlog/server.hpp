#pragma once

#include <cstdint>
#include <string>

#include <oncemark/binlog/place.hpp>
#include <oncemark/mysql/session.hpp>

#include "binlog/gtid_set.hpp"

namespace oncemark::binlog {

/// What has to be known of a server before its binlog is read.
struct ServerFacts {
  Flavor flavor = Flavor::mysql;
  std::string version;
  bool has_gtids = false;  // its transactions have names; always so on MariaDB
};

/// Asks the server, and checks that it logs what is needed.
///
/// Errors:  BinlogError{unsupported} unless the binlog is on, in row format, and (by default) with full images: it names
///          the setting. MysqlError.
[[nodiscard]] ServerFacts ask_server(mysql::Session& session);

/// The place behind everything that is committed. On MySQL the GTIDs may lack the very last transactions before it: a
/// reader that starts by them sees those once more.
///
/// Errors:  MysqlError: reading it needs REPLICATION CLIENT (MariaDB: BINLOG MONITOR).
[[nodiscard]] Place ask_end(mysql::Session& session, const ServerFacts& facts);

/// Whether a reader that has come to `file` and `position` has seen everything before `place` of the same server.
[[nodiscard]] bool has_reached(const std::string& file, std::uint64_t position, const Place& place);

}  // namespace oncemark::binlog
