// What handlers and rules decide about failures, through the real consumer side.
#include <chrono>
#include <stdexcept>

#include <oncemark/outbox/writer.hpp>

#include "integration/loop/consumer_fixture.hpp"

namespace oncemark {
namespace {

Verdict decide(const Message& message, mysql::Transaction& tx) {
  tx.execute("INSERT INTO delivery (message_id, attempt, at) VALUES (?, ?, UTC_TIMESTAMP(6))", message.id,
             message.attempt);
  if (message.id == "busy" && message.attempt == 1) return Verdict::retry_after(300ms, "busy");
  if (message.id == "busy-for-ever") return Verdict::retry_after(20ms, "busy");
  if (message.id == "closed") return Verdict::dead_letter("closed");
  if (message.id == "unwanted") throw std::domain_error("nobody wants it");
  return Verdict::done();
}

class Decisions : public ConsumerTest {
 protected:
  Decisions() { create("delivery (message_id VARBINARY(255), attempt INT, at DATETIME(6) NOT NULL)"); }
};

TEST_F(Decisions, AreCarriedOut) {
  pool_.transact([&](mysql::Transaction& tx) {
    for (const char* id : {"plain", "busy", "busy-for-ever", "closed", "unwanted"}) {
      outbox::append(tx, {.topic = topic_, .key = "k", .payload = "p", .id = id});
    }
  });
  kafka::Producer business_out{{.brokers = Stack::brokers()}};
  outbox::Relay business{pool_, business_out, {.poll_interval = 5ms, .max_poll_interval = 20ms}};
  Running running(
      *this,
      {.effect = decide,
       .once = {.consumer = "shop", .effects = Effects::transaction},
       .failures =
           {.retries = {.max_attempts = 3,
                        .delays = {1ms},
                        .rules = {{.errors = {"std::domain_error"}, .action = retry::Action::retry_here, .tries = 2},
                                  {.errors = {"std::domain_error"}, .action = retry::Action::discard}}}},
       .relay = {.name = "shop", .poll_interval = 5ms, .max_poll_interval = 20ms}});

  EXPECT_TRUE(eventually(30s, [&] {
    return count("SELECT COUNT(*) FROM consumed_message WHERE state IN ('done', 'dead', 'discarded')") == 5;
  }));
  running.stop();

  EXPECT_EQ(
      text("SELECT GROUP_CONCAT(CONCAT(message_key, '=', state, '/', attempt) ORDER BY message_key SEPARATOR ' ') "
           "FROM consumed_message"),
      "busy=done/1 busy-for-ever=dead/3 closed=dead/1 plain=done/0 unwanted=discarded/1");
  EXPECT_EQ(
      text("SELECT GROUP_CONCAT(CONCAT(message_id, ':', attempt) ORDER BY message_id SEPARATOR ' ') FROM delivery"),
      "busy:2 plain:1")
      << "what a handler wrote before it decided against it is undone";
  EXPECT_EQ(running.counts().in_place_retries, 2u);
  EXPECT_EQ(running.counts().discarded, 1u);
  EXPECT_GE(count("SELECT TIMESTAMPDIFF(MICROSECOND, o.created_at, d.at) FROM outbox_message o JOIN delivery d "
                  "ON d.message_id = o.message_id WHERE o.message_id = 'busy' AND o.purpose LIKE 'retry:%'"),
            300'000);
}

}  // namespace
}  // namespace oncemark
