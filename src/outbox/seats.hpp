#pragma once

#include <array>
#include <string>
#include <string_view>

#include <oncemark/mysql/session.hpp>

namespace oncemark::outbox {

/// The named locks by which the relays of one name count each other: each takes the first free seat.
///
/// Shape:   a lock's name is "om:relay:" + 16 hex digits (database and relay) + ":" + seat. Named locks are global to
///          a server, hence the database in the hash. More relays than seats are counted as one more than there are.
/// Threads: a value; a session has one owner.
/// Errors:  MysqlError.
class Seats final {
 public:
  static constexpr int kSeats = 64;

  Seats(std::string_view database, std::string_view relay);

  /// The first free seat, now held by this session; -1 when all are taken.
  [[nodiscard]] int take(mysql::Session& session) const;
  void leave(mysql::Session& session, int seat) const;
  /// How many seats are taken, by whomever: one statement.
  [[nodiscard]] int taken(mysql::Session& session) const;

  [[nodiscard]] const std::string& name(int seat) const { return names_[static_cast<std::size_t>(seat)]; }

 private:
  std::array<std::string, kSeats> names_;
};

/// The database that the session is in.
[[nodiscard]] std::string current_database(mysql::Session& session);

}  // namespace oncemark::outbox
