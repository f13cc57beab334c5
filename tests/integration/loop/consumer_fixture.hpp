#pragma once

#include <atomic>
#include <chrono>
#include <exception>
#include <optional>
#include <string>
#include <thread>
#include <utility>

#include <gtest/gtest.h>

#include <oncemark/consume/runner.hpp>
#include <oncemark/dead_letter/router.hpp>
#include <oncemark/inbox/dedup.hpp>
#include <oncemark/kafka/admin.hpp>
#include <oncemark/kafka/consumer.hpp>
#include <oncemark/kafka/producer.hpp>
#include <oncemark/message/names.hpp>
#include <oncemark/outbox/relay.hpp>

#include "support/eventually.hpp"
#include "support/temp_schema.hpp"
#include "support/topics_by_hand.hpp"
#include "support/unique_topic.hpp"

namespace oncemark {

using namespace std::chrono_literals;
using testing::eventually;
using testing::Stack;
using testing::Tables;
using testing::TempSchema;

/// Topic, group and schema of one test of a whole consumer in this process: source, handler, failure path and relay.
class ConsumerTest : public ::testing::Test {
 protected:
  explicit ConsumerTest(std::int32_t partitions = 1, kafka::Properties topic_config = {})
      : topic_(testing::unique_topic(partitions, std::move(topic_config))) {}

  struct Parts {
    inbox::Dedup::Effect effect = {};
    inbox::DedupOptions once = {.consumer = "shipping", .effects = Effects::transaction};
    dead_letter::RouterOptions failures = {};
    bool has_relay = true;
    outbox::RelayOptions relay = {.name = "shipping", .poll_interval = 5ms, .max_poll_interval = 20ms};
    kafka::Properties producer = {};
    consume::RunnerOptions runner = {.workers = 2, .commit_interval = 50ms};
  };

  /// A consumer that runs while this lives.
  class Running {
   public:
    Running(ConsumerTest& test, Parts parts)
        : source_({.brokers = Stack::brokers(), .group = test.group_, .topics = {test.topic_}}),
          once_(test.pool_, std::move(parts.once), std::move(parts.effect)),
          failures_(test.pool_, std::move(parts.failures)),
          out_({.brokers = Stack::brokers(), .properties = std::move(parts.producer)}),
          runner_(source_, once_, failures_, parts.runner) {
      if (parts.has_relay) relay_.emplace(test.pool_, out_, std::move(parts.relay));
      run_ = std::jthread([this](const std::stop_token& stop) {
        try {
          runner_.run(stop);
        } catch (...) {
          thrown_ = std::current_exception();
        }
        has_ended_ = true;
      });
    }
    ~Running() { end(); }

    /// Throws what the runner threw.
    void stop() {
      end();
      if (thrown_) std::rethrow_exception(std::exchange(thrown_, nullptr));
    }
    [[nodiscard]] bool has_ended() const { return has_ended_; }
    [[nodiscard]] consume::RunnerCounts counts() const { return runner_.counts(); }

   private:
    void end() {
      run_.request_stop();
      if (run_.joinable()) run_.join();
    }

    kafka::Consumer source_;
    inbox::Dedup once_;
    dead_letter::Router failures_;
    kafka::Producer out_;
    std::optional<outbox::Relay> relay_;
    consume::Runner runner_;
    std::exception_ptr thrown_;
    std::atomic<bool> has_ended_{false};
    std::jthread run_;
  };

  std::int64_t count(const std::string& sql) { return row(sql).get<std::int64_t>(0); }
  std::string text(const std::string& sql) { return row(sql).get<std::string>(0); }
  mysql::Row row(const std::string& sql) {
    return pool_.transact([&](mysql::Transaction& tx) { return tx.query_row(sql).value(); });
  }
  void create(const std::string& table) { pool_.acquire()->control("CREATE TABLE " + table); }
  static Headers with_id(std::string id) { return {{std::string(names::kMessageId), std::move(id)}}; }
  [[nodiscard]] std::string dlq() const { return "dlq." + group_ + "." + topic_; }
  [[nodiscard]] std::string retries() const { return "retry." + group_ + "." + topic_; }

  const std::string topic_;
  const std::string group_ = testing::unique_name("g");
  TempSchema schema_{Tables::ours};
  mysql::Pool pool_{schema_.options()};
};

}  // namespace oncemark
