#include <oncemark/housekeeping/partitions.hpp>

#include <algorithm>
#include <array>
#include <cstdio>
#include <thread>
#include <utility>

#include <oncemark/core/error.hpp>
#include <oncemark/core/faults.hpp>
#include <oncemark/ledger/horizon.hpp>
#include <oncemark/mysql/errors.hpp>
#include <oncemark/observe/log.hpp>

#include "housekeeping/partition_rows.hpp"

namespace oncemark::housekeeping {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr std::string_view kOthers = "others";
// Making a partition copies what lies in `others`, while claims wait.
constexpr std::uint64_t kMostOthers = 100'000;
constexpr milliseconds kBetweenTries{500};

/// pYYYYMMDD_HH
std::string name_of(Time before) {
  const std::string text = format_rfc3339(before);  // 2026-11-25T18:…
  return "p" + text.substr(0, 4) + text.substr(5, 2) + text.substr(8, 2) + "_" + text.substr(11, 2);
}

std::optional<Time> time_of(std::string_view name) {
  const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
  if (name.size() != 12 || name[0] != 'p' || name[9] != '_') return std::nullopt;
  for (std::size_t i = 1; i < name.size(); ++i) {
    if (i != 9 && !is_digit(name[i])) return std::nullopt;
  }
  const std::string digits(name);
  return parse_rfc3339(digits.substr(1, 4) + "-" + digits.substr(5, 2) + "-" + digits.substr(7, 2) + "T" +
                       digits.substr(10, 2) + ":00:00Z");
}

std::string definition(Time before) {
  return "PARTITION " + name_of(before) + " VALUES LESS THAN ('" + first_key_of(before) + "')";
}

/// The end of the `width` that `time` lies in.
Time end_of_width(Time time, hours width) {
  const auto since_epoch = std::chrono::floor<hours>(time.time_since_epoch());
  return Time((since_epoch / width + 1) * width);
}

/// What a check of a partition's rows said.
struct Check {
  std::uint64_t staying = 0;                                     // rows that must not go yet
  std::vector<std::pair<std::string, ledger::Purged>> horizons;  // by consumer
  milliseconds took{0};
};

/// One scan. Only plainly done marks may go with their partition: whether a message that failed once still has a
/// letter or outgoing rows would have to be asked of tables that must not be locked here.
Check check_rows(mysql::Connection& connection, const std::string& partition, const PartitionOptions& options) {
  const auto begin = steady_clock::now();
  const std::int64_t age = std::chrono::microseconds(options.marks).count();
  const std::array<mysql::Param, 2> params{mysql::Param(age), mysql::Param(age)};
  Check check;
  for (const mysql::Row& row : connection.query("SELECT consumer, origin_topic, origin_partition, MAX(event_time), "
                                                "SUM(NOT (state = 'done' AND life = 1 AND attempt = 0 "
                                                "AND consumed_at < UTC_TIMESTAMP(6) - INTERVAL ? MICROSECOND "
                                                "AND event_time < UTC_TIMESTAMP(6) - INTERVAL ? MICROSECOND)) "
                                                "FROM consumed_message PARTITION (" +
                                                    partition + ") GROUP BY consumer, origin_topic, origin_partition",
                                                params)) {
    check.horizons.emplace_back(row.get<std::string>(0), ledger::Purged{.topic = row.get<std::string>(1),
                                                                        .partition = row.get<std::int32_t>(2),
                                                                        .event_time = row.get<Time>(3)});
    check.staying += row.get<std::uint64_t>(4);
  }
  check.took = std::chrono::duration_cast<milliseconds>(steady_clock::now() - begin);
  return check;
}

void raise_horizons(mysql::Connection& connection, const Check& check) {
  mysql::UnitOfWork unit(connection);
  for (const auto& [consumer, purged] : check.horizons) ledger::raise_horizon(unit.tx(), consumer, {&purged, 1});
  unit.commit();
}

/// Everybody else waits outside while it lives.
class TableLock final {
 public:
  /// Throws MysqlError when it cannot be had in time.
  explicit TableLock(mysql::Connection& connection) : connection_(connection) {
    connection_.control("LOCK TABLES consumed_message WRITE");
  }
  ~TableLock() {
    try {
      connection_.control("UNLOCK TABLES");
    } catch (const std::exception& error) {  // gone with the connection
      log(LogLevel::warn, "the lock on consumed_message was lost", {{"text", error.what()}});
    }
  }
  TableLock(const TableLock&) = delete;
  TableLock& operator=(const TableLock&) = delete;

 private:
  mysql::Connection& connection_;
};

std::string rows_that_stay(std::uint64_t count) {
  return std::to_string(count) + " rows are not settled, failed once, or are younger than the retention";
}

/// Why the partition must stay; nothing when it was dropped.
std::optional<std::string> drop_one(mysql::Connection& connection, const std::string& partition,
                                    const PartitionOptions& options) {
  const Check check = check_rows(connection, partition, options);
  connection.control("ROLLBACK");
  if (check.staying > 0) return rows_that_stay(check.staying);
  if (check.took > options.longest_check) {
    return "checking its rows takes " + std::to_string(check.took.count()) +
           " ms, and claims would wait for so long; use narrower partitions";
  }
  // Raised first, and committed: claims that pass from here on until the lock see it.
  raise_horizons(connection, check);
  ONCEMARK_FAIL_POINT("partitions.before_drop");
  const TableLock lock(connection);
  // Rows may have come since. They were consumed just now, so they stay and the partition with them.
  const Check again = check_rows(connection, partition, options);
  if (again.staying > 0) return rows_that_stay(again.staying);
  connection.control("ALTER TABLE consumed_message DROP PARTITION " + partition);
  return std::nullopt;
}

/// Runs `work` again while the table's lock cannot be had. False when it never could.
template <typename Work>
bool with_patience(const PartitionOptions& options, Work&& work) {
  for (int tries = 1;; ++tries) {
    try {
      work();
      return true;
    } catch (const mysql::MysqlError& error) {
      if (!error.is_contention()) throw;
      if (tries == options.tries) return false;
    }
    std::this_thread::sleep_for(kBetweenTries);
  }
}

std::vector<std::string> add_partitions(mysql::Connection& connection, const PartitionOptions& options, Time now,
                                        Time last) {
  std::string definitions;
  std::vector<std::string> names;
  const Time wanted = end_of_width(now, options.width) + options.width * options.ahead;
  for (Time before = end_of_width(last, options.width); before <= wanted; before += options.width) {
    definitions += definition(before) + ", ";
    names.push_back(name_of(before));
  }
  if (names.empty()) return names;
  const auto others =
      connection.query("SELECT COUNT(*) FROM (SELECT 1 FROM consumed_message PARTITION (others) LIMIT " +
                           std::to_string(kMostOthers + 1) + ") AS counted",
                       {});
  connection.control("ROLLBACK");
  if (others.at(0).get<std::uint64_t>(0) > kMostOthers) {
    log(LogLevel::warn,
        "no partitions are added: too many rows of `others` would be copied while claims wait; are the message keys "
        "time-ordered ids?",
        {{"limit", kMostOthers}});
    return {};
  }
  const bool is_done = with_patience(options, [&] {
    connection.control("ALTER TABLE consumed_message REORGANIZE PARTITION others INTO (" + definitions +
                       "PARTITION others VALUES LESS THAN (MAXVALUE))");
  });
  return is_done ? names : std::vector<std::string>();
}

}  // namespace

std::vector<Partition> read_partitions(mysql::Connection& connection) {
  const auto rows = connection.query(
      "SELECT partition_name, table_rows FROM information_schema.partitions WHERE table_schema = DATABASE() "
      "AND table_name = 'consumed_message' AND partition_name IS NOT NULL ORDER BY partition_ordinal_position",
      {});
  connection.control("ROLLBACK");
  std::vector<Partition> found;
  for (const mysql::Row& row : rows) {
    Partition partition{.name = row.get<std::string>(0), .rows = row.get<std::uint64_t>(1)};
    partition.before = time_of(partition.name);
    if (!partition.before && partition.name != kOthers) return {};  // somebody else's scheme
    found.push_back(std::move(partition));
  }
  return found;
}

void PartitionOptions::validate() const {
  const auto require = [](const char* field, std::int64_t value, std::int64_t least, std::int64_t most) {
    if (value >= least && value <= most) return;
    throw ConfigError(field, "PartitionOptions::" + std::string(field) + " is " + std::to_string(value) +
                                 "; allowed: " + std::to_string(least) + " to " + std::to_string(most));
  };
  require("marks", marks.count(), 1, 3'650 * 86'400LL);
  require("width", width.count(), 1, 744);
  require("ahead", ahead, 1, 100);
  require("lock_wait", lock_wait.count(), 1, 60);
  require("tries", tries, 1, 1'000);
  require("longest_check", longest_check.count(), 100, 3'600'000);
}

std::string first_key_of(Time time) {
  const auto ms = static_cast<std::uint64_t>(
      std::max<std::int64_t>(0, std::chrono::floor<milliseconds>(time).time_since_epoch().count()));
  std::array<char, 24> text{};
  std::snprintf(text.data(), text.size(), "%08llx-%04llx", static_cast<unsigned long long>(ms >> 16),
                static_cast<unsigned long long>(ms & 0xffff));
  return text.data();
}

std::string partition_statement(const PartitionOptions& options, Time now) {
  options.validate();
  std::string sql = "ALTER TABLE consumed_message PARTITION BY RANGE COLUMNS (message_key) (\n";
  const Time last = end_of_width(now, options.width) + options.width * options.ahead;
  for (Time before = end_of_width(now - options.marks, options.width); before <= last; before += options.width) {
    sql += "  " + definition(before) + ",\n";
  }
  return sql + "  PARTITION others VALUES LESS THAN (MAXVALUE)\n)";
}

std::vector<Partition> partitions(mysql::Pool& pool) { return read_partitions(*pool.acquire()); }

Rotation rotate_partitions(mysql::Pool& pool, const PartitionOptions& options) {
  options.validate();
  mysql::PoolOptions patient = pool.options();
  patient.read_timeout = hours(1);  // a scan of a large partition answers late
  const mysql::Pool own(patient);
  const auto connection = own.connect(patient.wait_timeout);
  connection->control("SET SESSION lock_wait_timeout = " + std::to_string(options.lock_wait.count()));
  const std::vector<Partition> found = read_partitions(*connection);
  if (found.size() < 2 || found.back().name != kOthers) {
    throw MisuseError("consumed_message of database " + patient.schema +
                      " has no partitions by time; `oncemark partitions print` prints the statement that makes them");
  }
  const Time now = connection->query("SELECT UTC_TIMESTAMP(6)", {}).at(0).get<Time>(0);
  connection->control("ROLLBACK");

  Rotation rotation;
  Time last{};
  for (const Partition& partition : found) {
    if (!partition.before) continue;
    last = *partition.before;
    const bool is_last = &partition == &found[found.size() - 2];  // the next ones are made after it
    if (is_last || *partition.before > now - options.marks) continue;
    std::optional<std::string> why;
    const bool had_lock = with_patience(options, [&] { why = drop_one(*connection, partition.name, options); });
    if (!had_lock) why = "the table could not be locked; transactions run for longer than lock_wait";
    if (why) {
      rotation.kept.push_back({.partition = partition.name, .why = *why});
    } else {
      rotation.dropped.push_back(partition.name);
      log(LogLevel::info, "partition of consumed_message dropped", {{"partition", partition.name}});
    }
  }
  rotation.added = add_partitions(*connection, options, now, last);
  return rotation;
}

}  // namespace oncemark::housekeeping
