#include "outbox/seats.hpp"

#include <array>
#include <cstdio>
#include <vector>

#include <oncemark/core/error.hpp>
#include <oncemark/message/codec.hpp>

namespace oncemark::outbox {
namespace {

std::string common_part(std::string_view database, std::string_view relay) {
  const std::string whole = std::string(database) + '\0' + std::string(relay);
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(),
                "om:relay:%016llx:", static_cast<unsigned long long>(payload_hash(Bytes(whole))));
  return text.data();
}

// IS_USED_LOCK of every seat, joined by `between`.
std::string of_every_seat(std::string_view before, std::string_view after, std::string_view between) {
  std::string sql = "SELECT ";
  for (int seat = 0; seat < Seats::kSeats; ++seat) {
    if (seat > 0) sql += between;
    sql.append(before).append("IS_USED_LOCK(?)").append(after);
  }
  return sql;
}

}  // namespace

Seats::Seats(std::string_view database, std::string_view relay) {
  const std::string common = common_part(database, relay);
  for (int seat = 0; seat < kSeats; ++seat) names_[static_cast<std::size_t>(seat)] = common + std::to_string(seat);
}

int Seats::take(mysql::Session& session) const {
  static const std::string sql = of_every_seat("", "", ", ");
  const std::vector<mysql::Param> params(names_.begin(), names_.end());
  const mysql::Rows rows = session.query(sql, params);
  for (int seat = 0; seat < kSeats; ++seat) {
    if (!rows.front().is_null(static_cast<std::size_t>(seat))) continue;
    const std::array<mysql::Param, 1> wanted{name(seat)};
    const auto got = session.query("SELECT GET_LOCK(?, 0)", wanted).front().get<std::optional<int>>(0);
    if (got == 1) return seat;  // else another relay was faster
  }
  return -1;
}

void Seats::leave(mysql::Session& session, int seat) const {
  if (seat < 0) return;
  const std::array<mysql::Param, 1> left{name(seat)};
  (void)session.query("SELECT RELEASE_LOCK(?)", left);
}

int Seats::taken(mysql::Session& session) const {
  static const std::string sql = of_every_seat("(", " IS NOT NULL)", " + ");
  const std::vector<mysql::Param> params(names_.begin(), names_.end());
  return session.query(sql, params).front().get<int>(0);
}

std::string current_database(mysql::Session& session) {
  const auto name = session.query("SELECT DATABASE()", {}).front().get<std::optional<std::string>>(0);
  if (!name) throw MisuseError("the connection is in no database; set mysql.schema to the one with outbox_message");
  return *name;
}

}  // namespace oncemark::outbox
