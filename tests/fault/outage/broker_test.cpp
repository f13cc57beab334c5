// The broker away while whole consumer processes work, with retries and letters on their way.
#include "fault/loop/loop_fixture.hpp"
#include "support/kafka_log.hpp"

namespace oncemark {
namespace {

class BrokerOutage : public LoopTest {
 protected:
  static void stack(const std::string& command) {
    ASSERT_EQ(std::system((std::string(ONCEMARK_STACK) + " " + command + " >/dev/null 2>&1").c_str()), 0) << command;
  }
};

TEST_F(BrokerOutage, LosesNoRetryAndNoLetterAndDoublesNoEffect) {
  send("plain", 100);
  send("flaky", 30);
  send("poison", 10);
  send("stubborn", 5);
  auto worker = start("worker", {"delay=1500"});
  ASSERT_TRUE(eventually(30s, [&] {
    return count("SELECT COUNT(*) FROM failed_message") > 0 && count("SELECT COUNT(*) FROM dead_letter") > 0;
  }));

  stack("kill kafka");
  // What it has in hand is settled in the database, whatever Kafka does.
  ASSERT_TRUE(eventually(30s, [&] {
    return count("SELECT COUNT(*) FROM outbox_message WHERE status <> 'sent' AND available_at < UTC_TIMESTAMP(6)") > 0;
  }));
  stack("restart kafka");

  // A static member whose join was cut off may be taken for two, and ends: then who supervises it starts it again.
  const auto supervise = [&] {
    if (!worker->has_ended()) return;
    EXPECT_THAT(worker->log(), ::testing::HasSubstr("FENCED_INSTANCE_ID")) << "it ended for no good reason";
    worker = start("restarted", {"delay=1500"});
  };
  ASSERT_TRUE(eventually(90s, [&] {
    supervise();
    return count("SELECT COUNT(*) FROM consumed_message WHERE state = 'done'") == 130 &&
           count("SELECT COUNT(*) FROM consumed_message WHERE state = 'dead'") == 15 &&
           count("SELECT COUNT(*) FROM outbox_message WHERE status <> 'sent'") == 0;
  }));
  EXPECT_EQ(worker->stop(), 0);
  expect_each_effect_once(130);
  EXPECT_EQ(count("SELECT COUNT(*) FROM dead_letter"), 15);
  EXPECT_EQ(count("SELECT COUNT(*) FROM failed_message"), 0);
  EXPECT_EQ(count("SELECT COUNT(*) FROM outbox_message WHERE attempts > 0"), 0);
  std::set<std::string> letters;
  for (const Record& letter : testing::read_topic(Stack::brokers(), "dlq." + group_ + "." + topic_)) {
    letters.emplace(letter.headers.text("om-message-id").value());
  }
  EXPECT_EQ(letters.size(), 15u);
}

}  // namespace
}  // namespace oncemark
