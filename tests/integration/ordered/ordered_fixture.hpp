#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <future>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <oncemark/consume/runner.hpp>
#include <oncemark/dead_letter/replay.hpp>
#include <oncemark/dead_letter/router.hpp>
#include <oncemark/dead_letter/sequences.hpp>
#include <oncemark/dead_letter/waiting.hpp>
#include <oncemark/inbox/batch_dedup.hpp>
#include <oncemark/inbox/dedup.hpp>
#include <oncemark/outbox/relay.hpp>
#include <oncemark/testing/builders.hpp>
#include <oncemark/testing/recording_sink.hpp>
#include <oncemark/testing/scripted_source.hpp>

#include "support/eventually.hpp"
#include "support/temp_schema.hpp"

namespace oncemark {

using namespace std::chrono_literals;
using testing::eventually;
using testing::record_with_id;
using testing::ScriptedSource;
using testing::Tables;
using testing::TempSchema;

/// What handlers do, by message id; changed while they run.
class Script {
 public:
  using Deed = std::function<void(const Message&)>;
  /// In its first so many deliveries.
  void fail(const std::string& id, std::uint32_t deliveries) {
    fail(id, 1'000'000, [deliveries](const Message& message) {
      if (message.attempt <= deliveries) throw std::runtime_error("not yet");
    });
  }
  void always_fail(const std::string& id) { fail(id, 1'000'000u); }
  /// So many times, counted runs of groups that are run again.
  void fail(const std::string& id, int times, Deed deed) {
    const std::lock_guard lock(mutex_);
    failures_[id] = {times, std::move(deed)};
  }
  void heal(const std::string& id) {
    const std::lock_guard lock(mutex_);
    failures_.erase(id);
  }
  /// Its handler waits until the gate is opened.
  void close_gate(const std::string& id) {
    const std::lock_guard lock(mutex_);
    gates_.insert(id);
  }
  void open_gate(const std::string& id) {
    const std::lock_guard lock(mutex_);
    gates_.erase(id);
  }
  [[nodiscard]] bool is_at_gate(const std::string& id) const {
    const std::lock_guard lock(mutex_);
    return at_gate_.contains(id);
  }
  [[nodiscard]] int runs(const std::string& id) const {
    const std::lock_guard lock(mutex_);
    const auto found = runs_.find(id);
    return found == runs_.end() ? 0 : found->second;
  }

  void run(const Message& message) {
    Deed deed;
    {
      const std::lock_guard lock(mutex_);
      ++runs_[message.id];
      const auto failure = failures_.find(message.id);
      if (failure != failures_.end() && failure->second.first-- > 0) deed = failure->second.second;
      if (gates_.contains(message.id)) at_gate_.insert(message.id);
    }
    while (is_closed(message.id)) std::this_thread::sleep_for(1ms);
    if (deed) deed(message);
  }

 private:
  [[nodiscard]] bool is_closed(const std::string& id) const {
    const std::lock_guard lock(mutex_);
    return gates_.contains(id);
  }
  mutable std::mutex mutex_;
  std::map<std::string, std::pair<int, Deed>> failures_;  // guarded by mutex_, like all below
  std::set<std::string> gates_;
  std::set<std::string> at_gate_;
  std::map<std::string, int> runs_;
};

struct OrderedOptions {
  retry::RetryOptions retries = {.delays = {30ms, 60ms}, .order = retry::Order::by_key};
  std::size_t workers = 3;
  std::size_t max_in_flight = 10'000;
  bool is_batch = false;
  std::int32_t partitions = 1;
};

/// Consumers with parked sequences over a real database and a scripted source.
class OrderedTest : public ::testing::Test {
 protected:
  OrderedTest() {
    pool_.acquire()->control(
        "CREATE TABLE effect (id BIGINT AUTO_INCREMENT PRIMARY KEY, message_id VARBINARY(255) NOT NULL, "
        "record_key BLOB, attempt INT, life INT)");
  }

  using Options = OrderedOptions;

  /// A consumer process in miniature: source, handler, router, runner, and the thread that it runs on.
  class Instance {
   public:
    Instance(mysql::Pool& pool, Script& script, const std::vector<Record>& log, const Options& options)
        : source_("shipping", {"orders"}, options.partitions), router_(pool, {.retries = options.retries}) {
      for (const Record& record : log) source_.add(record);
      const inbox::DedupOptions dedup{.consumer = "shipping", .effects = Effects::transaction};
      const auto apply = [&script](const Message& message, mysql::Transaction& tx) {
        script.run(message);
        tx.execute("INSERT INTO effect (message_id, record_key, attempt, life) VALUES (?, ?, ?, ?)", message.id,
                   message.key, message.attempt, message.life);
      };
      if (options.is_batch) {
        handler_ =
            std::make_unique<inbox::BatchDedup>(pool, dedup, [apply](inbox::Batch& batch, mysql::Transaction& tx) {
              for (std::size_t i = 0; i < batch.size(); ++i) {
                try {
                  apply(batch[i], tx);
                } catch (...) {
                  batch.fail(i);
                }
              }
            });
      } else {
        handler_ = std::make_unique<inbox::Dedup>(pool, dedup, apply);
      }
      runner_ = std::make_unique<consume::Runner>(source_, *handler_, router_,
                                                  consume::RunnerOptions{.workers = options.workers,
                                                                         .max_in_flight = options.max_in_flight,
                                                                         .commit_interval = 5ms,
                                                                         .in_place = {.initial = 2ms, .cap = 20ms},
                                                                         .breaker = {.keys = 0}});
      thread_ = std::jthread([this](const std::stop_token& stop) {
        try {
          runner_->run(stop);
        } catch (const std::exception& error) {
          ADD_FAILURE() << "the runner ended: " << error.what();
        }
      });
    }
    void stop() {
      thread_.request_stop();
      if (thread_.joinable()) thread_.join();
    }
    [[nodiscard]] ScriptedSource& source() { return source_; }
    [[nodiscard]] consume::RunnerCounts counts() const { return runner_->counts(); }

   private:
    ScriptedSource source_;
    std::unique_ptr<consume::Handler> handler_;
    dead_letter::Router router_;
    std::unique_ptr<consume::Runner> runner_;
    std::jthread thread_;
  };

  /// The log: "a1" is a message of key "a"; an id that comes again is a copy.
  static std::vector<Record> log_of(const std::vector<std::string>& ids, std::int64_t first_offset = 0,
                                    std::int32_t partition = 0) {
    std::vector<Record> log;
    for (const std::string& id : ids) {
      log.push_back(record_with_id(id, {"orders", partition, first_offset++}, id.substr(0, 1)));
    }
    return log;
  }
  std::unique_ptr<Instance> start(const std::vector<Record>& log, const Options& options = {}) {
    return std::make_unique<Instance>(pool_, script_, log, options);
  }

  std::int64_t count(const std::string& sql) {
    return pool_.transact([&](mysql::Transaction& tx) { return tx.query_row(sql).value().get<std::int64_t>(0); });
  }
  std::int64_t effects() { return count("SELECT COUNT(*) FROM effect"); }
  std::int64_t parked() { return count("SELECT COUNT(*) FROM parked_message"); }
  std::int64_t in_state(const std::string& state) {
    return count("SELECT COUNT(*) FROM consumed_message WHERE state = '" + state + "'");
  }
  /// Ids of the effects of a key, in the order in which they were committed.
  std::vector<std::string> effects_of(const std::string& key) {
    return pool_.transact([&](mysql::Transaction& tx) {
      std::vector<std::string> ids;
      for (const mysql::Row& row : tx.query("SELECT message_id FROM effect WHERE record_key = ? ORDER BY id", key)) {
        ids.push_back(row.get<std::string>(0));
      }
      return ids;
    });
  }
  /// What must hold between commits, whatever happened.
  void expect_sound() {
    EXPECT_EQ(count("SELECT COUNT(*) FROM consumed_message c LEFT JOIN parked_message p ON p.consumer = c.consumer AND "
                    "p.message_key = c.message_key WHERE c.state = 'parked' AND p.seq IS NULL"),
              0)
        << "parked in no sequence";
    EXPECT_EQ(count("SELECT COUNT(*) FROM parked_message p JOIN consumed_message c ON c.consumer = p.consumer AND "
                    "c.message_key = p.message_key LEFT JOIN parked_key k ON k.consumer = p.consumer AND k.order_key = "
                    "p.order_key WHERE k.depth IS NULL OR NOT (c.state = 'parked' OR (c.state = 'dead' AND k.head_key "
                    "= p.message_key AND k.due_at IS NULL))"),
              0)
        << "in a sequence and not parked";
    EXPECT_EQ(
        count("SELECT COUNT(*) FROM parked_key k LEFT JOIN (SELECT consumer, order_key, COUNT(*) AS n, MIN(seq) AS "
              "first FROM parked_message GROUP BY consumer, order_key) AS s USING (consumer, order_key) LEFT JOIN "
              "parked_message h ON h.consumer = k.consumer AND h.order_key = k.order_key AND h.seq = s.first "
              "WHERE s.n IS NULL OR s.n <> k.depth OR h.message_key <> k.head_key"),
        0)
        << "parked_key disagrees with its sequence";
  }
  void expect_all_over() {
    expect_sound();
    EXPECT_EQ(parked(), 0);
    EXPECT_EQ(count("SELECT COUNT(*) FROM parked_key"), 0);
    EXPECT_EQ(in_state("parked"), 0);
  }

  TempSchema schema_{Tables::ours};
  mysql::Pool pool_{[this] {
    mysql::PoolOptions options = schema_.options();
    options.size = 24;
    return options;
  }()};
  testing::RecordingSink sink_;
  outbox::Relay relay_{pool_, sink_, {.name = "shipping"}};  // the router waits for one
  Script script_;
};

}  // namespace oncemark
