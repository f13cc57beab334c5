#include "binlog/server.hpp"

#include <oncemark/binlog/errors.hpp>

namespace oncemark::binlog {
namespace {

[[noreturn]] void refuse(const std::string& why) { throw BinlogError(Trouble::unsupported, why); }

std::string one(mysql::Session& session, const std::string& sql) {
  const mysql::Rows rows = session.query(sql, {});
  return rows.empty() || rows.front().is_null(0) ? std::string() : rows.front().get<std::string>(0);
}

// Of "binlog.000010": its number, which has more digits than the others once a million files have been written.
std::string_view number_of(std::string_view file) {
  const std::size_t dot = file.rfind('.');
  return dot == std::string_view::npos ? file : file.substr(dot + 1);
}

}  // namespace

ServerFacts ask_server(mysql::Session& session) {
  ServerFacts facts;
  facts.version = one(session, "SELECT VERSION()");
  facts.flavor = facts.version.find("MariaDB") == std::string::npos ? Flavor::mysql : Flavor::mariadb;
  if (one(session, "SELECT IF(@@global.log_bin, 'yes', 'no')") != "yes") {
    refuse("the server writes no binlog; start it with --log-bin");
  }
  const std::string format = one(session, "SELECT @@global.binlog_format");
  if (format != "ROW") refuse("binlog_format is " + format + "; set it to ROW, on the server and in every session");
  const std::string image = one(session, "SELECT @@global.binlog_row_image");
  if (image == "MINIMAL") refuse("binlog_row_image is MINIMAL; set it to FULL");
  facts.has_gtids = facts.flavor == Flavor::mariadb || one(session, "SELECT @@global.gtid_mode") == "ON";
  return facts;
}

Place ask_end(mysql::Session& session, const ServerFacts& facts) {
  const bool is_mysql = facts.flavor == Flavor::mysql;
  const bool has_new_words = is_mysql && !facts.version.starts_with("8.0") && !facts.version.starts_with("5.");
  const mysql::Rows rows = session.query(has_new_words ? "SHOW BINARY LOG STATUS" : "SHOW MASTER STATUS", {});
  if (rows.empty()) refuse("the server writes no binlog; start it with --log-bin");
  Place place{.file = rows.front().get<std::string>(0), .position = rows.front().get<std::uint64_t>(1)};
  if (!facts.has_gtids) return place;
  const std::string gtids =
      is_mysql ? rows.front().get<std::string>("Executed_Gtid_Set")
               : one(session, "SELECT BINLOG_GTID_POS('" + place.file + "', " + std::to_string(place.position) + ")");
  place.gtids = GtidSet::parse(facts.flavor, gtids).str();
  return place;
}

bool has_reached(const std::string& file, std::uint64_t position, const Place& place) {
  const std::string_view now = number_of(file);
  const std::string_view then = number_of(place.file);
  if (now != then) return now.size() != then.size() ? now.size() > then.size() : now > then;
  return position >= place.position;
}

}  // namespace oncemark::binlog
