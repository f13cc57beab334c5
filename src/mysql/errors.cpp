#include <oncemark/mysql/errors.hpp>

#include <algorithm>
#include <array>

#include <oncemark/observe/log.hpp>

namespace oncemark::mysql {
namespace {

constexpr ErrorKind kTransient = ErrorKind::transient;
constexpr ErrorKind kUnavailable = ErrorKind::unavailable;
constexpr ErrorKind kPermanent = ErrorKind::permanent;
constexpr ErrorKind kMisuse = ErrorKind::misuse;

struct Entry {
  int code;
  ErrorKind kind;
  bool breaks_connection;
  std::string_view cure;
};

constexpr std::string_view kCheckPassword = "check user and password_file";
constexpr std::string_view kCheckServer = "check url, and that the server runs and can be reached";
constexpr std::string_view kMoreConnections =
    "raise max_connections on the server, or lower the size of the pools that use it";
constexpr std::string_view kReadOnly = "point url at the primary, or make this server writable";
constexpr std::string_view kGrant = "grant the account what `oncemark schema grants` prints";
constexpr std::string_view kGone =
    "the server restarted or closed the connection, or the statement exceeded max_allowed_packet";
constexpr std::string_view kMemory = "the server is out of memory or disk space";

// Only numbers whose SQLSTATE says too little or the wrong thing; the rest is decided by class in classify().
constexpr std::array kTable = {
    Entry{0, kMisuse, false, {}},
    Entry{1020, kTransient, false, "another transaction changed the row first; the transaction is tried again"},
    Entry{1021, kUnavailable, false, kMemory},
    Entry{1026, kUnavailable, false, kMemory},
    Entry{1030, kUnavailable, false, "see the server's error log"},
    Entry{1037, kUnavailable, false, kMemory},
    Entry{1038, kUnavailable, false, kMemory},
    Entry{1040, kUnavailable, false, kMoreConnections},
    Entry{1041, kUnavailable, false, kMemory},
    Entry{1044, kMisuse, false, "grant the account access to the schema, or check user and schema"},
    Entry{1045, kMisuse, false, kCheckPassword},
    Entry{1047, kUnavailable, false, "the cluster node is not ready for queries"},
    Entry{1049, kMisuse, false, "create the database, or check schema"},
    Entry{1053, kUnavailable, true, "the server is shutting down"},
    Entry{1054, kMisuse, false, "the schema and this program differ: run `oncemark schema status`"},
    Entry{1062, kPermanent, false, {}},
    Entry{1064, kMisuse, false, {}},
    Entry{1080, kUnavailable, true, kCheckServer},
    Entry{1114, kUnavailable, false, kMemory},
    Entry{1129, kUnavailable, false, "the server blocked this host after connection errors: FLUSH HOSTS"},
    Entry{1130, kMisuse, false, "the account may not connect from this host"},
    Entry{1142, kMisuse, false, kGrant},
    Entry{1143, kMisuse, false, kGrant},
    Entry{1146, kMisuse, false, "run `oncemark schema apply`"},
    Entry{1152, kUnavailable, true, kCheckServer},
    Entry{1153, kPermanent, false, "raise max_allowed_packet on the server, or send less"},
    Entry{1156, kUnavailable, true, kCheckServer},
    Entry{1158, kUnavailable, true, kCheckServer},
    Entry{1159, kUnavailable, true, kCheckServer},
    Entry{1160, kUnavailable, true, kCheckServer},
    Entry{1161, kUnavailable, true, kCheckServer},
    Entry{1180, kTransient, false, {}},
    Entry{1184, kUnavailable, true, kCheckServer},
    Entry{1193, kMisuse, false, "the server is older than MySQL 8 or MariaDB 10.6"},
    Entry{1203, kUnavailable, false, kMoreConnections},
    Entry{1205, kTransient, false,
          "the lock is held for longer than lock_wait_timeout; the transaction is tried again"},
    Entry{1206, kTransient, false, "raise innodb_buffer_pool_size, or lock fewer rows in a transaction"},
    Entry{1210, kMisuse, false, {}},
    Entry{1213, kTransient, false, "deadlock; the transaction is tried again"},
    Entry{1226, kUnavailable, false, "the account has reached a resource limit on the server"},
    Entry{1227, kMisuse, false, kGrant},
    Entry{1243, kTransient, false, {}},
    Entry{1290, kUnavailable, false, kReadOnly},
    Entry{1295, kMisuse, false, "this command cannot be prepared: send it through control(), outside of a Transaction"},
    Entry{1305, kMisuse, false, "what was named is gone; a savepoint vanishes when something ends its transaction"},
    Entry{1317, kTransient, false, "the statement was killed"},
    Entry{1370, kMisuse, false, kGrant},
    Entry{1390, kMisuse, false, "a statement takes 65,535 parameters at most: send fewer rows at once"},
    Entry{1406, kPermanent, false, "the value is longer than its column"},
    Entry{1412, kTransient, false, "the table was altered meanwhile"},
    Entry{1452, kTransient, false, "the row that it refers to does not exist, or not yet"},
    Entry{1461, kUnavailable, false, "raise max_prepared_stmt_count on the server"},
    Entry{1524, kMisuse, false, "the server lacks the authentication plugin of this account"},
    Entry{1615, kTransient, false, {}},
    Entry{1698, kMisuse, false, kCheckPassword},
    Entry{1792, kUnavailable, false, kReadOnly},
    Entry{1820, kMisuse, false, "the account's password has expired"},
    Entry{1836, kUnavailable, false, kReadOnly},
    Entry{1862, kMisuse, false, "the account's password has expired"},
    Entry{1927, kUnavailable, true, "the connection was killed"},
    Entry{1969, kTransient, false, "the statement exceeded max_statement_time"},
    Entry{2002, kUnavailable, true, kCheckServer},
    Entry{2003, kUnavailable, true, kCheckServer},
    Entry{2005, kUnavailable, true, "the host in url has no address"},
    Entry{2006, kUnavailable, true, kGone},
    Entry{2013, kUnavailable, true, "the server or the network went away, or the answer took longer than read_timeout"},
    Entry{2014, kUnavailable, true, {}},
    Entry{2019, kMisuse, true, {}},
    Entry{2020, kPermanent, true, "raise max_allowed_packet, or ask for less"},
    Entry{2026, kUnavailable, true,
          "check tls_ca, and that the server offers TLS with a certificate for this host name"},
    Entry{2031, kMisuse, false, {}},
    Entry{2034, kMisuse, false, {}},
    Entry{2036, kMisuse, false, {}},
    Entry{2049, kMisuse, true, kCheckPassword},
    Entry{2055, kUnavailable, true, kCheckServer},
    Entry{2057, kTransient, false, "the table was altered meanwhile; name the columns instead of SELECT *"},
    Entry{2059, kMisuse, true, "the client lacks the authentication plugin of this account"},
    Entry{2061, kMisuse, true, "the account needs TLS: set tls_ca"},
    Entry{3024, kTransient, false, "the statement exceeded max_execution_time"},
    Entry{3032, kUnavailable, false, "the server is in offline mode"},
    Entry{3058, kTransient, false, {}},
    Entry{3100, kUnavailable, false, "the replication group cannot take the transaction now"},
    Entry{3101, kTransient, false, "the replication group rolled the transaction back; it is tried again"},
    Entry{3118, kMisuse, false, "the account is locked"},
    Entry{3144, kMisuse, false, "text over 256 KiB arrives as bytes: wrap the parameter in CONVERT(? USING utf8mb4)"},
    Entry{3159, kMisuse, false, "the server insists on TLS: set tls_ca"},
    Entry{3168, kUnavailable, false, {}},
    Entry{3169, kUnavailable, true, "the session was killed"},
    Entry{3572, kTransient, false, "the row is locked"},
    Entry{4031, kUnavailable, true, "the connection lay idle for longer than wait_timeout"},
    Entry{4151, kMisuse, false, "the account is locked"},
};
static_assert(std::is_sorted(kTable.begin(), kTable.end(),
                             [](const Entry& a, const Entry& b) { return a.code < b.code; }));

const Entry* find(int code) noexcept {
  const auto* const entry =
      std::lower_bound(kTable.begin(), kTable.end(), code, [](const Entry& e, int wanted) { return e.code < wanted; });
  return entry != kTable.end() && entry->code == code ? entry : nullptr;
}

// Numbers that the client library gives, not the server: after most of them the protocol is in an unknown state.
bool is_client_error(int code) noexcept { return code >= 2000 && code < 3000; }

}  // namespace

bool MysqlError::breaks_connection() const noexcept {
  if (const Entry* entry = find(code_)) return entry->breaks_connection;
  return is_client_error(code_);
}

bool MysqlError::dooms_transaction() const noexcept {
  // 1205 and 3572 undo only their statement. A 1205 was not expected, so what follows must not be committed; whoever
  // writes NOWAIT expects 3572. SQLSTATE class 40 and 1206 say that the server has rolled everything back.
  return code_ == 1205 || code_ == 1020 || code_ == 1206 || sqlstate_.starts_with("40") || code_ == 1213 ||
         breaks_connection();
}

bool MysqlError::is_contention() const noexcept {
  return code_ == 1205 || code_ == 1213 || code_ == 1020 || code_ == 3572;
}

bool MysqlError::is_infrastructure() const noexcept { return is_contention() || Error::is_infrastructure(); }

std::string MysqlError::error_class() const { return "mysql." + std::to_string(code_); }

MysqlError make_error(std::string_view tried, int code, std::string_view sqlstate, std::string_view text) {
  std::string what(tried);
  what += ": MySQL " + std::to_string(code) + " (" + std::string(sqlstate) + ") " + printable(text, 512);
  if (const std::string_view advice = cure(code); !advice.empty()) what.append("; ").append(advice);
  return MysqlError(classify(code, sqlstate), code, std::string(sqlstate), what);
}

ErrorKind classify(int code, std::string_view sqlstate) noexcept {
  if (const Entry* entry = find(code)) return entry->kind;
  if (is_client_error(code)) return kUnavailable;
  const std::string_view state_class = sqlstate.substr(0, 2);
  if (state_class == "08") return kUnavailable;                       // connection
  if (state_class == "40" || state_class == "70") return kTransient;  // rolled back; interrupted
  if (state_class == "28" || state_class == "42") return kMisuse;     // authorisation; syntax, names, rights
  if (state_class == "0A" || state_class == "25" || state_class == "3D") return kMisuse;
  return kPermanent;
}

std::string_view cure(int code) noexcept {
  const Entry* entry = find(code);
  return entry != nullptr ? entry->cure : std::string_view();
}

}  // namespace oncemark::mysql
