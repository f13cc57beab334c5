#include <chrono>
#include <map>
#include <optional>
#include <regex>
#include <set>

#include <oncemark/core/clock.hpp>
#include <oncemark/core/error.hpp>
#include <oncemark/ledger/claim.hpp>
#include <oncemark/mysql/errors.hpp>
#include <oncemark/mysql/migration.hpp>

#include "doctor.hpp"
#include "grants.hpp"
#include "program.hpp"
#include "schema_verify.hpp"

namespace oncemark::tools {
namespace {

using Variables = std::map<std::string, std::string>;

constexpr std::uint64_t kLeastPacket = std::uint64_t{16} << 20;
constexpr std::chrono::seconds kSkew{1};
constexpr std::size_t kNewest = 10'000;  // rows of the outbox whose topics are looked at

std::string text(mysql::Session& session, const std::string& sql) {
  const mysql::Rows rows = session.query(sql, {});
  return rows.empty() ? std::string() : rows.front().get<std::optional<std::string>>(0).value_or("");
}

Variables variables(mysql::Session& session) {
  Variables all;
  for (const mysql::Row& row : session.query("SHOW VARIABLES", {})) {
    all[row.get<std::string>(0)] = row.get<std::optional<std::string>>(1).value_or("");
  }
  return all;
}

// What a reader of the binlog needs; MariaDB prints one of them by its newer name.
bool is_for_the_binlog_alone(const std::string& grant) {
  static const std::regex kReader("GRANT ((REPLICATION SLAVE|REPLICATION CLIENT|BINLOG MONITOR)(, )?)+ ON .*");
  return std::regex_match(grant, kReader);
}

/// One database, as our sessions find it.
class Examination {
 public:
  Examination(const config::Settings& settings, Findings& findings)
      : settings_(settings), findings_(findings), pool_(settings.mysql) {}

  KnownTopics examine() {
    KnownTopics topics;
    if (!reach()) return topics;
    const Variables server = variables(*session_);
    version(server);
    session(server);
    durability(server);
    cluster(server);
    clock();
    if (!tables()) return topics;
    findings_.attempt("affected rows", "take the proxy that sets CLIENT_FOUND_ROWS out of the way", [&] {
      ledger::require_exact_affected_rows(pool_);
      findings_.ok("affected rows", "changed rows are counted, not found ones");
    });
    grants();
    findings_.attempt("topics", "oncemark schema verify", [&] { topics = known_topics(); });
    return topics;
  }

 private:
  bool reach() {
    try {
      session_ = pool_.connect(settings_.mysql.wait_timeout);
      findings_.ok("reachable", settings_.mysql.url + ", database " + settings_.mysql.schema);
      return true;
    } catch (const mysql::MysqlError& error) {
      const bool is_unknown = error.code() == 1049;
      const bool is_refused = error.code() == 1045 || error.code() == 1698 || error.code() == 1044;
      findings_.fail("reachable", error.what(),
                     is_unknown ? "CREATE DATABASE " + settings_.mysql.schema + ";  or set mysql.schema (" +
                                      origin("mysql.schema") + ")"
                     : is_refused ? "check mysql.user (" + origin("mysql.user") + ") and mysql.password_file (" +
                                        origin("mysql.password_file") + ")"
                                  : "check mysql.url (" + origin("mysql.url") + "), and that the server runs");
    } catch (const std::exception& error) {
      findings_.fail("reachable", error.what(), "oncemark config show");
    }
    return false;
  }

  [[nodiscard]] std::string origin(const std::string& key) const { return std::string(settings_.origin_of(key)); }

  void version(const Variables& server) {
    const std::string name = server.at("version");
    is_mariadb_ = name.find("MariaDB") != std::string::npos;
    int major = 0;
    int minor = 0;
    (void)std::sscanf(name.c_str(), "%d.%d", &major, &minor);
    const bool is_known = is_mariadb_ ? major > 10 || (major == 10 && minor >= 6) : major >= 8;
    if (is_known) {
      findings_.ok("version", (is_mariadb_ ? "" : "MySQL ") + name);
    } else {
      findings_.fail("version", name, "upgrade to MySQL 8 or MariaDB 10.6, or later");
    }
  }

  /// "SET GLOBAL …", and for MySQL so that it outlives a restart.
  [[nodiscard]] std::string set(const std::string& name, const std::string& value) const {
    return is_mariadb_ ? "SET GLOBAL " + name + " = " + value + ";  and " + name + " = " + value + " in my.cnf"
                       : "SET PERSIST " + name + " = " + value + ";";
  }

  /// What we set at each connect may be lost on the way: a proxy may give us another session than the one we set up.
  void session(const Variables& server) {
    const std::string proxy = "connect to the server itself, or to a proxy that keeps sessions apart";
    const auto isolation =
        server.contains("transaction_isolation") ? server.at("transaction_isolation") : server.at("tx_isolation");
    if (isolation == "READ-COMMITTED") {
      findings_.ok("isolation", isolation);
    } else {
      findings_.fail("isolation", "our session has " + isolation + " although READ COMMITTED was asked for", proxy);
    }
    if (text(*session_, "SELECT TIMESTAMPDIFF(SECOND, UTC_TIMESTAMP(), NOW()) = 0") == "1") {
      findings_.ok("time zone", "our session is in UTC");
    } else {
      findings_.fail("time zone", "our session is not in UTC although that was asked for", proxy);
    }
    const std::string wanted = std::to_string(settings_.mysql.wait_timeout.count());
    if (server.at("wait_timeout") == wanted) {
      findings_.ok("wait_timeout", wanted + " s in our session");
    } else {
      findings_.fail("wait_timeout",
                     "our session has " + server.at("wait_timeout") + " s although " + wanted + " s were asked for",
                     proxy);
    }
    if (std::stoull(server.at("max_allowed_packet")) >= kLeastPacket) {
      findings_.ok("max_allowed_packet", server.at("max_allowed_packet"));
    } else {
      findings_.warn("max_allowed_packet",
                     server.at("max_allowed_packet") + " bytes: larger messages cannot be kept when they fail",
                     set("max_allowed_packet", "67108864"));
    }
    const auto most = std::stoull(server.at("max_connections"));
    if (most < settings_.mysql.size * 2) {
      findings_.warn(
          "max_connections",
          std::to_string(most) + " for a pool of " + std::to_string(settings_.mysql.size) + " in each process",
          set("max_connections", "500"));
    }
  }

  void durability(const Variables& server) {
    const auto require = [&](const std::string& name, const std::string& why) {
      if (!server.contains(name)) return;
      if (server.at(name) == "1") {
        findings_.ok(name, "1");
      } else {
        findings_.warn(name, server.at(name) + ": " + why, set(name, "1"));
      }
    };
    require("innodb_flush_log_at_trx_commit", "a power cut takes back what was committed, and what was acked with it");
    const bool has_binlog = server.contains("log_bin") && server.at("log_bin") == "ON";
    if (!has_binlog) {
      findings_.ok("binlog", "none");
      return;
    }
    require("sync_binlog", "a power cut may lose from the binlog what was committed");
    const std::string format = server.contains("binlog_format") ? server.at("binlog_format") : "ROW";
    if (format == "STATEMENT") {
      findings_.fail("binlog_format", "STATEMENT: every write under READ COMMITTED is refused (1665)",
                     set("binlog_format", "'ROW'"));
    } else {
      findings_.ok("binlog_format", format);
    }
  }

  void cluster(const Variables& server) {
    if (server.contains("wsrep_on") && server.at("wsrep_on") == "ON") {
      findings_.warn("cluster", "Galera: row locks do not cross its nodes",
                     "let all services, relays and consumers of this database use one node: mysql.url");
    }
    const bool is_locked =
        (server.contains("read_only") && server.at("read_only") != "OFF" && server.at("read_only") != "0") ||
        (server.contains("super_read_only") && server.at("super_read_only") == "ON");
    if (is_locked) {
      findings_.fail("writable", "the server is read-only",
                     "point mysql.url at the primary, or: SET GLOBAL read_only = 0;");
    } else {
      findings_.ok("writable", "the server takes writes");
    }
  }

  void clock() {
    const SystemClock here;
    const Time before = here.now();
    const Time there = parse_datetime(text(*session_, "SELECT CAST(UTC_TIMESTAMP(6) AS CHAR)"));
    const Time after = here.now();
    const auto skew = there < before ? before - there : there > after ? there - after : Time::duration::zero();
    const std::string shown =
        std::to_string(std::chrono::duration_cast<std::chrono::milliseconds>(skew).count()) + " ms";
    if (skew <= kSkew) {
      findings_.ok("clock skew", shown);
    } else {
      findings_.warn("clock skew", "the database's clock and this machine's differ by " + shown,
                     "timedatectl set-ntp true  on the one that is wrong");
    }
  }

  bool tables() {
    bool is_there = false;
    findings_.attempt("tables", "oncemark schema apply", [&] {
      bool is_changed = false;
      bool is_missing = false;
      for (const mysql::MigrationState& state : mysql::migration_status(pool_)) {
        is_missing = is_missing || !state.is_applied;
        is_changed = is_changed || !state.checksum_matches;
      }
      is_there = !is_missing;
      if (is_missing) {
        findings_.fail("tables", "migrations are missing", "oncemark schema apply");
        return;
      }
      if (is_changed) {
        findings_.warn("tables", "a migration that was applied has another text than this program's",
                       "oncemark schema verify");
      }
      const auto deviations = schema_deviations(pool_);
      for (const Deviation& one : deviations) {
        findings_.fail("tables", one.where + " " + one.text, "oncemark schema verify; ALTER TABLE by hand");
      }
      if (deviations.empty()) findings_.ok("tables", "every table, column, collation and key is there");
    });
    return is_there;
  }

  /// What each statement needs shows when it is run; none of these finds a row.
  void grants() {
    const std::string user = text(*session_, "SELECT CURRENT_USER()");
    std::set<std::string> lacking;
    for (const Right& right : rights_of("operator")) {
      for (const std::string& privilege : right.privileges) {
        if (!may(right.table, privilege))
          lacking.insert(grant_statement({privilege}, settings_.mysql.schema, right.table, settings_.mysql.user));
      }
    }
    for (const std::string& statement : lacking) {
      findings_.warn("grants", user + " lacks a right that operators' commands, or a role of the service, need",
                     statement + "  (oncemark schema grants)");
    }
    std::string too_much;
    for (const mysql::Row& row : session_->query("SHOW GRANTS", {})) {
      const std::string grant = row.get<std::string>(0);
      const bool is_global = grant.find(" ON *.* ") != std::string::npos && !grant.starts_with("GRANT USAGE");
      if ((is_global && !is_for_the_binlog_alone(grant)) || grant.find("WITH GRANT OPTION") != std::string::npos)
        too_much = grant.substr(0, grant.find(" TO "));
    }
    if (!too_much.empty()) {
      findings_.warn("least privilege", user + " has more than it needs: " + too_much,
                     "REVOKE ALL PRIVILEGES, GRANT OPTION FROM " + user + ";  then: oncemark schema grants");
    } else {
      findings_.ok("least privilege", user + " has nothing on other databases");
    }
    if (lacking.empty()) findings_.ok("grants", user + " may do what each role needs");
  }

  bool may(const std::string& table, const std::string& privilege) {
    const std::string column = text(*session_,
                                    "SELECT CAST(column_name AS CHAR) FROM information_schema.columns WHERE "
                                    "table_schema = DATABASE() AND table_name = '" +
                                        table + "' AND generation_expression = '' LIMIT 1");
    if (column.empty()) return false;
    const std::string sql = privilege == "SELECT"   ? "DO (SELECT COUNT(*) FROM " + table + " WHERE FALSE)"
                            : privilege == "INSERT" ? "INSERT INTO " + table + " (" + column +
                                                          ") SELECT 1 FROM (SELECT 1 AS one) AS nothing WHERE FALSE"
                            : privilege == "UPDATE" ? "UPDATE " + table + " SET " + column + " = '' WHERE FALSE"
                                                    : "DELETE FROM " + table + " WHERE FALSE";
    try {
      session_->control(sql);
      session_->control("ROLLBACK");
      return true;
    } catch (const mysql::MysqlError& error) {
      if (error.code() == 1142 || error.code() == 1143) return false;
      throw;
    }
  }

  KnownTopics known_topics() {
    return pool_.transact([](mysql::Transaction& tx) {
      KnownTopics topics;
      for (const mysql::Row& row : tx.query(
               "SELECT DISTINCT topic FROM (SELECT topic, purpose FROM outbox_message ORDER BY id DESC LIMIT ?) AS "
               "newest WHERE purpose = ''",
               kNewest)) {
        topics.sent.push_back(row.get<std::string>(0));
      }
      for (const mysql::Row& row : tx.query(
               "SELECT DISTINCT origin_group, origin_topic FROM (SELECT origin_group, origin_topic FROM dead_letter "
               "ORDER BY id DESC LIMIT ?) AS newest UNION SELECT DISTINCT origin_group, origin_topic FROM (SELECT "
               "origin_group, origin_topic FROM failed_message LIMIT ?) AS waiting",
               kNewest, kNewest)) {
        topics.failing.push_back({row.get<std::string>(0), row.get<std::string>(1)});
      }
      return topics;
    });
  }

  const config::Settings& settings_;
  Findings& findings_;
  mysql::Pool pool_;
  std::unique_ptr<mysql::Connection> session_;
  bool is_mariadb_ = false;
};

}  // namespace

KnownTopics examine_mysql(const config::Settings& settings, Findings& findings) {
  findings.begin("mysql");
  KnownTopics topics;
  findings.attempt("settings", "oncemark config show", [&] { topics = Examination(settings, findings).examine(); });
  return topics;
}

}  // namespace oncemark::tools
