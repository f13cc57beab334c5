#include "binlog/checkpoint.hpp"

#include <array>

namespace oncemark::binlog {

std::optional<Place> load_checkpoint(mysql::Session& session, const std::string& name) {
  const std::array<mysql::Param, 1> params{name};
  const mysql::Rows rows = session.query("SELECT file, position, gtids FROM relay_checkpoint WHERE relay = ?", params);
  if (rows.empty()) return std::nullopt;
  return Place{.file = rows.front().get<std::string>(0),
               .position = rows.front().get<std::uint64_t>(1),
               .gtids = rows.front().get<std::string>(2)};
}

std::optional<Time> checkpoint_moved_at(mysql::Session& session, const std::string& name) {
  const std::array<mysql::Param, 1> params{name};
  const mysql::Rows rows = session.query("SELECT moved_at FROM relay_checkpoint WHERE relay = ?", params);
  if (rows.empty()) return std::nullopt;
  return rows.front().get<Time>(0);
}

void save_checkpoint(mysql::Session& session, const std::string& name, const Place& place) {
  const std::array<mysql::Param, 4> params{name, place.file, place.position, place.gtids};
  session.execute(
      "INSERT INTO relay_checkpoint (relay, file, position, gtids, moved_at) VALUES (?, ?, ?, ?, UTC_TIMESTAMP(6)) "
      "ON DUPLICATE KEY UPDATE file = VALUES(file), position = VALUES(position), gtids = VALUES(gtids), "
      "moved_at = VALUES(moved_at)",
      params);
}

}  // namespace oncemark::binlog
