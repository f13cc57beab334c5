// The consumer under test of the end-to-end workloads: consumes N records, prints one JSON line, and ends.
//
// Its environment is the contract of the peers' harness: PEERS_BOOTSTRAP, PEERS_DB_HOST, PEERS_DB_PORT, PEERS_DB_USER,
// PEERS_DB_PASSWORD, PEERS_DB_NAME, PEERS_WORKLOAD (w1, w3, w4), PEERS_N, PEERS_TWICE, PEERS_ALWAYS, PEERS_TOPIC,
// PEERS_GROUP, PEERS_DLT. Every message: one UPDATE of its account and one INSERT into the ledger, once.
// Our tables live in a database of their own, because the harness has a consumed_message too.
#include <sys/resource.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <string>
#include <thread>

#include <nlohmann/json.hpp>
#include <oncemark/consume/runner.hpp>
#include <oncemark/dead_letter/router.hpp>
#include <oncemark/inbox/dedup.hpp>
#include <oncemark/kafka/consumer.hpp>
#include <oncemark/kafka/producer.hpp>
#include <oncemark/mysql/migration.hpp>
#include <oncemark/observe/log.hpp>
#include <oncemark/outbox/relay.hpp>

namespace om = oncemark;
using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

namespace {

std::string environment(const char* name, const char* otherwise = nullptr) {
  const char* value = std::getenv(name);
  if (value == nullptr) value = otherwise;
  if (value == nullptr) {
    std::cerr << "end_to_end: " << name << " is not set; it is part of the harness's contract\n";
    std::exit(2);
  }
  return value;
}

double cpu_seconds() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

/// The handler of the workloads: what WORKLOADS calls steps 2 and 3, and the scripted failures of w4.
class Effect {
 public:
  Effect(std::string database, std::atomic<std::uint64_t>& healthy)
      : update_("UPDATE " + database + ".account SET balance = balance + ?, version = version + 1 WHERE id = ?"),
        insert_("INSERT INTO " + database + ".ledger (message_id, account_id, amount) VALUES (?, ?, ?)"),
        healthy_(healthy) {}

  void operator()(const om::Message& message, om::mysql::Transaction& tx) const {
    const auto body = nlohmann::json::parse(message.payload.view());
    const auto account = body.at("accountId").get<std::int64_t>();
    const auto amount = body.at("amount").get<std::int64_t>();
    tx.execute(update_, amount, account);
    const auto fail = message.headers.text("fail");
    if (fail && (*fail == "always" || message.attempt <= 2)) throw std::runtime_error("scripted failure");
    tx.execute(insert_, message.business_key, account, amount);
    if (!fail) tx.after_commit([&healthy = healthy_] { healthy.fetch_add(1, std::memory_order_relaxed); });
  }

 private:
  std::string update_;
  std::string insert_;
  std::atomic<std::uint64_t>& healthy_;
};

}  // namespace

int main() {
  om::set_log_level(om::LogLevel::error);
  const std::string business = environment("PEERS_DB_NAME");
  const std::string ours = business + "_oncemark";
  const auto records = std::stoull(environment("PEERS_N"));
  const auto twice = std::stoull(environment("PEERS_TWICE", "0"));
  const auto always = std::stoull(environment("PEERS_ALWAYS", "0"));
  const auto workers = static_cast<std::size_t>(std::stoi(environment("ONCEMARK_BENCH_WORKERS", "8")));
  const auto max_group = static_cast<std::size_t>(std::stoi(environment("ONCEMARK_BENCH_GROUP", "128")));

  om::mysql::PoolOptions options{.url = "tcp://" + environment("PEERS_DB_HOST") + ":" + environment("PEERS_DB_PORT"),
                                 .user = environment("PEERS_DB_USER"),
                                 .password = environment("PEERS_DB_PASSWORD"),
                                 .schema = business,
                                 .size = workers + 4};
  om::mysql::Pool(options).acquire()->control("CREATE DATABASE IF NOT EXISTS " + ours);
  options.schema = ours;
  om::mysql::Pool db{options};
  om::mysql::apply_migrations(db);
  {
    // Warm, as the contract allows: the pool is full before the clock starts.
    std::vector<om::mysql::Pool::Lease> warm;
    for (std::size_t i = 0; i < workers + 2; ++i) warm.push_back(db.acquire());
  }

  const std::string brokers = environment("PEERS_BOOTSTRAP");
  const std::string group = environment("PEERS_GROUP");
  om::kafka::Consumer source{{.brokers = brokers, .group = group, .topics = {environment("PEERS_TOPIC")}}};
  std::atomic<std::uint64_t> healthy{0};
  om::inbox::Dedup once{
      db,
      {.consumer = group, .effects = om::Effects::transaction, .key_from = om::inbox::KeyFrom::header("message-id")},
      Effect(business, healthy)};
  om::dead_letter::Router failures{
      db,
      {.retries = {.delays = {1s, 2s}}, .topics = {.dead_letter = environment("PEERS_DLT", "dlq.{group}.{topic}")}}};
  om::kafka::Producer out{{.brokers = brokers}};
  om::outbox::Relay relay{db, out, {.name = group, .max_poll_interval = 50ms}};
  om::consume::Runner runner{source, once, failures, {.workers = workers, .max_group = max_group}};

  std::jthread watcher;
  double healthy_secs = 0;
  double secs = 0;
  std::stop_source stop;
  const double cpu_before = cpu_seconds();
  const auto begin = Clock::now();
  const auto elapsed = [&] { return std::chrono::duration<double>(Clock::now() - begin).count(); };
  watcher = std::jthread([&] {
    // Each failing delivery is one more record to settle: two for those that fail twice, two more for the hopeless.
    const std::uint64_t deliveries = records + 2 * twice + 2 * always;
    for (;;) {
      const auto counts = runner.counts();
      const std::uint64_t settled =
          counts.done + counts.duplicates + counts.retrying + counts.dead + counts.settled_elsewhere;
      if (healthy_secs == 0 && healthy.load() + counts.duplicates >= records - twice - always) healthy_secs = elapsed();
      if (settled >= deliveries && relay.counts().sent >= 2 * twice + 3 * always) break;
      std::this_thread::sleep_for(1ms);
    }
    secs = elapsed();
    stop.request_stop();
  });
  try {
    runner.run(stop.get_token());
  } catch (const std::exception& error) {
    std::cerr << "end_to_end: " << error.what() << '\n';
    return 1;
  }
  watcher.join();
  std::printf("{\"secs\":%.3f,\"rate\":%.0f,\"first_secs\":null,\"healthy_secs\":%.3f,\"run_cpu_s\":%.2f}\n", secs,
              static_cast<double>(records) / secs, healthy_secs, cpu_seconds() - cpu_before);
  return 0;
}
