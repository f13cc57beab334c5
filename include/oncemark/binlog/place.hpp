#pragma once

#include <cstdint>
#include <string>

namespace oncemark::binlog {

/// A place in a server's binlog, between two transactions.
///
/// Shape:   `gtids` names all transactions before it, and is what counts where it is not empty: it is true on every
///          server of a replication group. File and position are true on one server only.
/// Threads: a value.
/// Errors:  –
struct Place {
  std::string file = {};
  std::uint64_t position = 0;
  std::string gtids = {};

  [[nodiscard]] bool is_empty() const noexcept { return file.empty() && gtids.empty(); }
  bool operator==(const Place&) const = default;
};

/// "binlog.000007:4711", for a person.
[[nodiscard]] std::string to_string(const Place& place);

}  // namespace oncemark::binlog
