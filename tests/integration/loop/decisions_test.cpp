// What handlers and rules decide about failures, through the real consumer side.
#include <atomic>
#include <chrono>
#include <stdexcept>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <oncemark/consume/runner.hpp>
#include <oncemark/dead_letter/router.hpp>
#include <oncemark/inbox/dedup.hpp>
#include <oncemark/kafka/admin.hpp>
#include <oncemark/kafka/consumer.hpp>
#include <oncemark/kafka/producer.hpp>
#include <oncemark/outbox/relay.hpp>
#include <oncemark/outbox/writer.hpp>

#include "support/eventually.hpp"
#include "support/temp_schema.hpp"
#include "support/unique_topic.hpp"

namespace oncemark {
namespace {

using namespace std::chrono_literals;
using testing::eventually;
using testing::Stack;
using testing::Tables;
using testing::TempSchema;

Verdict decide(const Message& message, mysql::Transaction& tx) {
  tx.execute("INSERT INTO delivery (message_id, attempt, at) VALUES (?, ?, UTC_TIMESTAMP(6))", message.id,
             message.attempt);
  if (message.id == "busy" && message.attempt == 1) return Verdict::retry_after(300ms, "busy");
  if (message.id == "busy-for-ever") return Verdict::retry_after(20ms, "busy");
  if (message.id == "closed") return Verdict::dead_letter("closed");
  if (message.id == "unwanted") throw std::domain_error("nobody wants it");
  return Verdict::done();
}

class Decisions : public ::testing::Test {
 protected:
  Decisions() {
    pool_.acquire()->control("CREATE TABLE delivery (message_id VARBINARY(255), attempt INT, at DATETIME(6) NOT NULL)");
  }
  std::int64_t count(const std::string& sql) {
    return pool_.transact([&](mysql::Transaction& tx) { return tx.query_row(sql)->get<std::int64_t>(0); });
  }
  std::string text(const std::string& sql) {
    return pool_.transact([&](mysql::Transaction& tx) { return tx.query_row(sql).value().get<std::string>(0); });
  }

  const std::string topic_ = testing::unique_topic(1);
  TempSchema schema_{Tables::ours};
  mysql::Pool pool_{schema_.options()};
};

TEST_F(Decisions, AreCarriedOut) {
  pool_.transact([&](mysql::Transaction& tx) {
    for (const char* id : {"plain", "busy", "busy-for-ever", "closed", "unwanted"}) {
      outbox::append(tx, {.topic = topic_, .key = "k", .payload = "p", .id = id});
    }
  });
  kafka::Producer business_out{{.brokers = Stack::brokers()}};
  outbox::Relay business{pool_, business_out, {.poll_interval = 5ms, .max_poll_interval = 20ms}};
  kafka::Producer failure_out{{.brokers = Stack::brokers()}};
  outbox::Relay relay{pool_, failure_out, {.name = "shop", .poll_interval = 5ms, .max_poll_interval = 20ms}};
  kafka::Consumer source{{.brokers = Stack::brokers(), .group = testing::unique_name("g"), .topics = {topic_}}};
  inbox::Dedup once{pool_, {.consumer = "shop", .effects = Effects::transaction}, decide};
  dead_letter::Router failures{
      pool_,
      {.retries = {.max_attempts = 3,
                   .delays = {1ms},
                   .rules = {{.errors = {"std::domain_error"}, .action = retry::Action::retry_here, .tries = 2},
                             {.errors = {"std::domain_error"}, .action = retry::Action::discard}}}}};
  consume::Runner runner{source, once, failures, {.workers = 2, .commit_interval = 50ms}};
  std::jthread run([&](std::stop_token stop) { runner.run(stop); });

  EXPECT_TRUE(eventually(30s, [&] {
    return count("SELECT COUNT(*) FROM consumed_message WHERE state IN ('done', 'dead', 'discarded')") == 5;
  }));
  run.request_stop();
  run.join();

  EXPECT_EQ(
      text("SELECT GROUP_CONCAT(CONCAT(message_key, '=', state, '/', attempt) ORDER BY message_key SEPARATOR ' ') "
           "FROM consumed_message"),
      "busy=done/1 busy-for-ever=dead/3 closed=dead/1 plain=done/0 unwanted=discarded/1");
  EXPECT_EQ(
      text("SELECT GROUP_CONCAT(CONCAT(message_id, ':', attempt) ORDER BY message_id SEPARATOR ' ') FROM delivery"),
      "busy:2 plain:1")
      << "what a handler wrote before it decided against it is undone";
  EXPECT_EQ(runner.counts().in_place_retries, 2u);
  EXPECT_EQ(runner.counts().discarded, 1u);
  EXPECT_GE(count("SELECT TIMESTAMPDIFF(MICROSECOND, o.created_at, d.at) FROM outbox_message o JOIN delivery d "
                  "ON d.message_id = o.message_id WHERE o.message_id = 'busy' AND o.purpose LIKE 'retry:%'"),
            300'000);
}

}  // namespace
}  // namespace oncemark
