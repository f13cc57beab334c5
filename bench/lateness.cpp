// How late retries come: rows of the outbox fall due at a steady rate, a relay with its default settings sends them, and
// the time from due to the broker's ack is taken, beside any number of rows that wait for another day. First the relay
// is watched while nothing is due: what it reads then is what those rows cost.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <exception>
#include <fstream>
#include <iostream>
#include <stdexcept>
#include <string>
#include <thread>
#include <unordered_map>
#include <utility>
#include <vector>

#include <unistd.h>

#include <oncemark/core/clock.hpp>
#include <oncemark/kafka/admin.hpp>
#include <oncemark/kafka/producer.hpp>
#include <oncemark/observe/log.hpp>
#include <oncemark/outbox/relay.hpp>
#include <oncemark/outbox/writer.hpp>

#include "consumer.hpp"

namespace om = oncemark;
using namespace std::chrono_literals;

namespace bench {
namespace {

constexpr auto kIdle = 5s;
constexpr std::size_t kRowsATransaction = 500;

/// When each row was handed over, and when it was acked.
class TimedSink final : public om::Sink {
 public:
  explicit TimedSink(om::Sink& sink) : sink_(sink) {}

  om::Sent send(const om::OutgoingRecord& record, std::uint64_t token) override {
    sent_.emplace(token, om::SystemClock().now());
    return sink_.send(record, token);
  }
  std::vector<om::Delivery> deliveries(std::chrono::milliseconds wait) override {
    auto reports = sink_.deliveries(wait);
    for (const om::Delivery& report : reports) {
      if (report.status == om::DeliveryStatus::acked) acked_.emplace(report.token, om::SystemClock().now());
    }
    return reports;
  }
  void discard() override { sink_.discard(); }

  [[nodiscard]] const auto& sent() const { return sent_; }
  [[nodiscard]] const auto& acked() const { return acked_; }

 private:
  om::Sink& sink_;
  std::unordered_map<std::uint64_t, om::Time> sent_;   // the first time
  std::unordered_map<std::uint64_t, om::Time> acked_;  // read once the relay has stopped
};

/// CPU seconds of the database server so far; 0 where it is not ours.
double server_cpu() {
  std::ifstream stat("/proc/" + variable("ONCEMARK_MYSQL_PID", "0") + "/stat");
  std::string text;
  if (!std::getline(stat, text)) return 0;
  text.erase(0, text.rfind(')') + 2);
  double user = 0;
  double system = 0;
  for (int field = 3; !text.empty() && field <= 15; ++field) {
    const std::size_t end = text.find(' ');
    if (field == 14) user = std::stod(text.substr(0, end));
    if (field == 15) system = std::stod(text.substr(0, end));
    text.erase(0, end + 1);
  }
  return (user + system) / static_cast<double>(sysconf(_SC_CLK_TCK));
}

/// Rows that all sessions have read by an index so far.
std::uint64_t rows_read(om::mysql::Pool& db) {
  return db.transact([](om::mysql::Transaction& tx) {
    std::uint64_t rows = 0;
    for (const om::mysql::Row& row : tx.query("SHOW GLOBAL STATUS WHERE Variable_name IN ('Handler_read_key', "
                                              "'Handler_read_next', 'Handler_read_prev')")) {
      rows += row.get<std::uint64_t>(1);
    }
    return rows;
  });
}

/// At least so many rows that are due in 30 days: one, then as many again until it is enough.
void insert_waiting(om::mysql::Pool& db, const Contract& contract, std::uint64_t rows) {
  if (rows == 0) return;
  db.transact([&](om::mysql::Transaction& tx) {
    om::outbox::append(tx, {.topic = contract.topic,
                            .key = "waiting",
                            .payload = std::string(200, 'x'),
                            .delay = 30 * 24h,
                            .relay = contract.group});
  });
  for (std::uint64_t there = 1; there < rows; there *= 2) {
    db.transact([&](om::mysql::Transaction& tx) {
      tx.execute(
          "INSERT INTO outbox_message (message_id, purpose, relay, shard, topic, message_key, event_time, payload, "
          "headers, status, available_at, created_at) SELECT UUID(), purpose, relay, id % 64, topic, "
          "CONCAT('waiting-', id), event_time, payload, headers, status, available_at + INTERVAL id MICROSECOND, "
          "created_at FROM outbox_message LIMIT ?",
          std::min(there, rows - there));
    });
  }
}

/// Rows that fall due one after the other, from `begin` on.
void insert_due(om::mysql::Pool& db, const Contract& contract, om::Time begin, std::chrono::microseconds interval) {
  for (std::uint64_t i = 0; i < contract.n;) {
    db.transact([&](om::mysql::Transaction& tx) {
      for (std::size_t in_one = 0; in_one < kRowsATransaction && i < contract.n; ++in_one, ++i) {
        const auto left = begin + static_cast<std::int64_t>(i) * interval - om::SystemClock().now();
        om::outbox::append(tx, {.topic = contract.topic,
                                .key = "key-" + std::to_string(i % 1'000),
                                .payload = std::string(200, 'x'),
                                .delay = std::chrono::ceil<std::chrono::milliseconds>(left),
                                .relay = contract.group});
      }
    });
  }
}

int run() {
  om::set_log_level(om::LogLevel::error);
  const Contract contract;
  const std::uint64_t waiting = number("ONCEMARK_BENCH_WAITING", "0");
  const std::uint64_t rate = number("ONCEMARK_BENCH_RATE", "1000");
  om::mysql::Pool db{our_tables(contract, 2)};
  warm(db, 2);
  om::kafka::Admin(contract.brokers).create({{.name = contract.topic, .partitions = 4}});
  insert_waiting(db, contract, waiting);

  om::kafka::Producer out{{.brokers = contract.brokers}};
  TimedSink sink(out);
  const om::outbox::RelayOptions options{.name = contract.group};
  std::uint64_t idle_rows = 0;
  double idle_cpu = 0;
  {
    om::outbox::Relay idle(db, sink, options);
    std::this_thread::sleep_for(2s);  // until it polls as seldom as it does
    const std::uint64_t rows = rows_read(db);
    const double cpu = server_cpu();
    std::this_thread::sleep_for(kIdle);
    idle_rows = rows_read(db) - rows;
    idle_cpu = server_cpu() - cpu;
  }

  const auto lead = std::chrono::milliseconds(4'000 + contract.n / 4);  // to insert them in
  const om::Time begin = om::SystemClock().now() + lead;
  insert_due(db, contract, begin, std::chrono::microseconds(1'000'000 / rate));
  if (om::SystemClock().now() > begin - 500ms) throw std::runtime_error("the rows were not there in time");
  std::unordered_map<std::uint64_t, om::Time> due;
  db.transact([&](om::mysql::Transaction& tx) {
    for (const om::mysql::Row& row :
         tx.query("SELECT id, available_at FROM outbox_message WHERE relay = ? AND available_at < UTC_TIMESTAMP(6) + "
                  "INTERVAL 1 DAY",
                  contract.group)) {
      due.emplace(row.get<std::uint64_t>(0), row.get<om::Time>(1));
    }
  });
  double due_cpu = 0;
  {
    om::outbox::Relay relay(db, sink, options);
    std::this_thread::sleep_until(begin);
    const double cpu = server_cpu();
    const auto deadline = begin + std::chrono::seconds(contract.n / rate + 30);
    while (relay.counts().sent < contract.n && om::SystemClock().now() < deadline) std::this_thread::sleep_for(1ms);
    due_cpu = server_cpu() - cpu;
  }

  std::size_t early = 0;
  std::vector<double> lateness;
  for (const auto& [id, time] : due) {
    const auto acked = sink.acked().find(id);
    if (acked == sink.acked().end()) continue;
    if (sink.sent().at(id) < time) ++early;
    lateness.push_back(std::chrono::duration<double, std::milli>(acked->second - time).count());
  }
  std::ranges::sort(lateness);
  const auto at = [&](double share) {
    return lateness.empty() ? 0 : lateness[static_cast<std::size_t>(share * static_cast<double>(lateness.size() - 1))];
  };
  const auto poll = static_cast<double>(options.max_poll_interval.count());
  const bool is_right = early == 0 && lateness.size() == contract.n && at(0.99) <= poll + 1'000;
  std::printf(
      "{\"ok\":%s,\"rate\":%llu,\"waiting\":%llu,\"sent\":%zu,\"early\":%zu,\"late_p50_ms\":%.1f,\"late_p99_ms\":%.1f,"
      "\"late_max_ms\":%.1f,\"poll_ms\":%.0f,\"idle_rows_per_s\":%.1f,\"idle_db_cpu_ms_per_s\":%.2f,"
      "\"due_db_cpu_s\":%.2f}\n",
      is_right ? "true" : "false", static_cast<unsigned long long>(rate), static_cast<unsigned long long>(waiting),
      lateness.size(), early, at(0.5), at(0.99), at(1), poll,
      static_cast<double>(idle_rows) / static_cast<double>(kIdle.count()),
      1'000 * idle_cpu / static_cast<double>(kIdle.count()), due_cpu);
  return 0;
}

}  // namespace
}  // namespace bench

int main() {
  try {
    return bench::run();
  } catch (const std::exception& error) {
    std::cerr << "lateness: " << error.what() << '\n';
    return 1;
  }
}
