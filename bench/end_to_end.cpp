// The consumer under test: consumes PEERS_N records, prints one JSON line, and ends. Its environment is the contract
// of the peers' harness (contract.hpp), its options are those of tools/bench. Every message is one UPDATE of its
// account and one INSERT into the ledger, once. Our tables lie in a database of their own, because the harness has a
// consumed_message too.
#include <atomic>
#include <chrono>
#include <cstdio>
#include <exception>
#include <iostream>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <oncemark/consume/runner.hpp>
#include <oncemark/dead_letter/router.hpp>
#include <oncemark/inbox/batch_dedup.hpp>
#include <oncemark/inbox/dedup.hpp>
#include <oncemark/inbox/memory_hint.hpp>
#include <oncemark/inbox/redis_hint.hpp>
#include <oncemark/kafka/admin.hpp>
#include <oncemark/kafka/consumer.hpp>
#include <oncemark/kafka/producer.hpp>
#include <oncemark/observe/log.hpp>
#include <oncemark/outbox/relay.hpp>

#include "consumer.hpp"

namespace om = oncemark;
using namespace std::chrono_literals;
using Steady = std::chrono::steady_clock;

namespace bench {
namespace {

/// How far the handlers have come, told by the hooks of committed transactions.
class Progress {
 public:
  void committed(std::uint64_t healthy) {
    healthy_.fetch_add(healthy, std::memory_order_relaxed);
    if (has_first_.test_and_set(std::memory_order_relaxed)) return;
    first_.store(Steady::now().time_since_epoch().count(), std::memory_order_relaxed);
  }
  [[nodiscard]] std::uint64_t healthy() const { return healthy_.load(std::memory_order_relaxed); }
  [[nodiscard]] Steady::time_point first() const {
    return Steady::time_point(Steady::duration(first_.load(std::memory_order_relaxed)));
  }

 private:
  std::atomic<std::uint64_t> healthy_{0};
  std::atomic_flag has_first_;
  std::atomic<Steady::rep> first_{0};
};

/// Steps 2 and 3 of the workloads, and the scripted failures of w4.
class Effect {
 public:
  Effect(const std::string& database, bool is_deferred, Progress& progress)
      : accounts_(database), is_deferred_(is_deferred), progress_(progress) {}

  void operator()(const om::Message& message, om::mysql::Transaction& tx) const {
    const Deposit deposit = read_deposit(message);
    if (is_deferred_) {
      accounts_.defer_update(tx, deposit);
      if (must_fail(message)) throw std::runtime_error("scripted failure");
      accounts_.defer_insert(tx, message.business_key, deposit);
    } else {
      accounts_.update(tx, deposit);
      if (must_fail(message)) throw std::runtime_error("scripted failure");
      accounts_.insert(tx, message.business_key, deposit);
    }
    tx.after_commit([&progress = progress_, healthy = is_healthy(message) ? 1u : 0u] { progress.committed(healthy); });
  }

  void operator()(om::inbox::Batch& batch, om::mysql::Transaction& tx) const {
    om::mysql::RowValues deposits;
    om::mysql::RowValues rows;
    std::uint64_t healthy = 0;
    for (std::size_t i = 0; i < batch.size(); ++i) {
      if (must_fail(batch[i])) {
        batch.fail(i, std::runtime_error("scripted failure"));
        continue;
      }
      const Deposit deposit = read_deposit(batch[i]);
      deposits.add(deposit.account, deposit.amount, 1);
      rows.add(batch[i].business_key, deposit.account, deposit.amount);
      healthy += is_healthy(batch[i]) ? 1 : 0;
    }
    accounts_.update_all(tx, deposits);
    accounts_.insert_all(tx, rows);
    tx.after_commit([&progress = progress_, healthy] { progress.committed(healthy); });
  }

 private:
  static bool is_healthy(const om::Message& message) { return !message.headers.contains("fail"); }
  static bool must_fail(const om::Message& message) {
    const auto fail = message.headers.text("fail");
    return fail && (*fail == "always" || message.attempt <= 2);
  }

  Accounts accounts_;
  bool is_deferred_;
  Progress& progress_;
};

/// The contract names the dead-letter topic of a run; ours always carries the group and the source in its name. So the
/// letters are sent under the other name.
class LettersElsewhere final : public om::Sink {
 public:
  LettersElsewhere(om::Sink& sink, std::string ours, std::string elsewhere)
      : sink_(sink), ours_(std::move(ours)), elsewhere_(std::move(elsewhere)) {}

  om::Sent send(const om::OutgoingRecord& record, std::uint64_t token) override {
    if (record.topic != ours_) return sink_.send(record, token);
    om::OutgoingRecord letter = record;
    letter.topic = elsewhere_;
    return sink_.send(letter, token);
  }
  std::vector<om::Delivery> deliveries(std::chrono::milliseconds wait) override { return sink_.deliveries(wait); }
  void discard() override { sink_.discard(); }

 private:
  om::Sink& sink_;
  std::string ours_;
  std::string elsewhere_;
};

int run(const RunOptions& options) {
  om::set_log_level(om::LogLevel::error);
  const Contract contract;
  om::mysql::Pool db{our_tables(contract, options.workers)};
  warm(db, options.workers + 2);

  om::kafka::Consumer source{{.brokers = contract.brokers, .group = contract.group, .topics = {contract.topic}}};
  Progress progress;
  const Effect effect(contract.business, options.deferred, progress);
  std::unique_ptr<om::inbox::SeenHint> hint;
  if (options.hint == "memory") {
    hint = std::make_unique<om::inbox::MemoryHint>(db);
  } else if (!options.hint.empty()) {
    hint = std::make_unique<om::inbox::RedisHint>(db, om::inbox::RedisHintOptions{.redis = {.url = options.hint}});
  }
  om::inbox::DedupOptions dedup = dedup_options(contract);
  dedup.hint = hint.get();
  dedup.hint_use = {.trust = om::inbox::Trust::skip};
  om::inbox::Dedup one_by_one{db, dedup, effect};
  om::inbox::BatchDedup together{db, dedup, effect};
  om::consume::Handler& once = options.batch ? static_cast<om::consume::Handler&>(together) : one_by_one;
  om::dead_letter::Router failures{
      db,
      {.retries = {.delays = {1s, 2s},
                   .order = options.is_ordered ? om::retry::Order::by_key : om::retry::Order::none,
                   .on_dead = om::retry::OnDead::continue_key}}};
  om::kafka::Producer out{{.brokers = contract.brokers}};
  LettersElsewhere letters{out, "dlq." + contract.group + "." + contract.topic, contract.dead_letters};
  if (contract.always > 0) om::kafka::Admin(contract.brokers).create({{contract.dead_letters, 4}});
  om::outbox::Relay relay{db, letters, {.name = contract.group, .max_poll_interval = 50ms}};
  om::consume::Runner runner{source, once, failures, runner_options(options)};

  // Each failing delivery is one more record to settle: two for those that fail twice, two more for the hopeless. In
  // order they stay in the database, and only the letters go out.
  const std::uint64_t deliveries =
      options.is_ordered ? contract.n : contract.n + 2 * contract.twice + 2 * contract.always;
  const std::uint64_t outgoing = options.is_ordered ? contract.always : 2 * contract.twice + 3 * contract.always;
  const std::uint64_t healthy = contract.n - contract.twice - contract.always;
  std::stop_source stop;
  const double cpu_before = cpu_seconds();
  const auto begin = Steady::now();
  const auto since = [&](Steady::time_point time) { return std::chrono::duration<double>(time - begin).count(); };
  double secs = 0;
  double healthy_secs = 0;
  double cpu = 0;
  std::jthread watcher([&](const std::stop_token& failed) {
    while (!failed.stop_requested()) {
      const auto counts = runner.counts();
      const std::uint64_t settled =
          counts.done + counts.duplicates + counts.retrying + counts.dead + counts.settled_elsewhere;
      if (healthy_secs == 0 && progress.healthy() + counts.duplicates >= healthy) healthy_secs = since(Steady::now());
      if (settled >= deliveries && relay.counts().sent >= outgoing) break;
      std::this_thread::sleep_for(1ms);
    }
    secs = since(Steady::now());
    cpu = cpu_seconds() - cpu_before;
    stop.request_stop();
  });
  runner.run(stop.get_token());
  watcher.join();
  std::printf("{\"secs\":%.3f,\"rate\":%.0f,\"first_secs\":%.3f,\"healthy_secs\":%.3f,\"run_cpu_s\":%.2f}\n", secs,
              static_cast<double>(contract.n) / secs, since(progress.first()), healthy_secs, cpu);
  return 0;
}

}  // namespace
}  // namespace bench

int main(int argc, char** argv) {
  try {
    return bench::run(bench::parse_options(argc, argv));
  } catch (const std::exception& error) {
    std::cerr << "end_to_end: " << error.what() << '\n';
    return 1;
  }
}
