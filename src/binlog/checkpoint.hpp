#pragma once

#include <optional>
#include <string>

#include <oncemark/binlog/place.hpp>
#include <oncemark/core/clock.hpp>
#include <oncemark/mysql/session.hpp>

namespace oncemark::binlog {

/// Where a reader of that name goes on; nothing before its first checkpoint.
[[nodiscard]] std::optional<Place> load_checkpoint(mysql::Session& session, const std::string& name);
/// When it last moved, by the database's clock.
[[nodiscard]] std::optional<Time> checkpoint_moved_at(mysql::Session& session, const std::string& name);
/// Within the session's transaction, if it has one.
void save_checkpoint(mysql::Session& session, const std::string& name, const Place& place);

}  // namespace oncemark::binlog
