// Records that no topic has room for travel as pointers to what the database keeps. Kills the consumer (its relay
// included) where it sends, claims and routes them.
#include "fault/loop/loop_fixture.hpp"
#include "support/kafka_log.hpp"

namespace oncemark {
namespace {

struct Crash {
  std::string point;
  int passage;  // by then pointers are on their way
};

class PointerCrashPoints : public LoopTest, public ::testing::WithParamInterface<Crash> {
 protected:
  static constexpr int kFlaky = 4;
  static constexpr int kStubborn = 2;

  PointerCrashPoints() {
    kafka::Admin admin(Stack::brokers());
    for (const char* kind : {"retry.", "dlq."}) {
      admin.create({{.name = kind + group_ + "." + topic_, .config = {{"max.message.bytes", "2000"}}}});
    }
    std::vector<std::pair<std::string, std::string>> messages;
    for (int i = 0; i < kFlaky + kStubborn; ++i) {
      messages.emplace_back((i < kFlaky ? "flaky-" : "stubborn-") + std::to_string(i), "key-" + std::to_string(i));
    }
    send(messages, payload_);
  }
  /// In this order: the row of a message that has ended is there from that commit on.
  bool is_settled() {
    return count("SELECT COUNT(*) FROM consumed_message WHERE state IN ('done', 'dead')") == kFlaky + kStubborn &&
           count("SELECT COUNT(*) FROM outbox_message WHERE status <> 'sent'") == 0;
  }

  const std::string payload_ = std::string(10'000, 'p');
};

TEST_P(PointerCrashPoints, LoseNoByteAndDoubleNoEffect) {
  auto worker = start("worker", {}, GetParam().point + ":kill@" + std::to_string(GetParam().passage));
  ASSERT_TRUE(worker->dies_by_kill(30s)) << "the worker never passed " << GetParam().point;
  worker = start("worker");
  ASSERT_TRUE(eventually(60s, [&] { return is_settled(); }));

  expect_each_effect_once(kFlaky);
  EXPECT_EQ(count("SELECT COUNT(*) FROM dead_letter WHERE state = 'dead' AND LENGTH(payload) = 10000"), kStubborn);
  const auto letters = testing::read_topic(Stack::brokers(), "dlq." + group_ + "." + topic_);
  EXPECT_GE(letters.size(), static_cast<std::size_t>(kStubborn));
  for (const Record& letter : letters) EXPECT_TRUE(letter.payload.is_null());

  replay_all();
  ASSERT_TRUE(eventually(30s, [&] { return is_settled() && effects() == kFlaky + kStubborn; }));
  expect_each_effect_once(kFlaky + kStubborn);
  EXPECT_EQ(count("SELECT COUNT(*) FROM effect WHERE payload = REPEAT('p', 10000)"), kFlaky + kStubborn);
  EXPECT_EQ(count("SELECT COUNT(*) FROM failed_message"), 0);
  EXPECT_EQ(worker->stop(), 0);
}

// First deliveries pass at most six of each, the router's for each message, the others only in groups that are run
// again with savepoints.
INSTANTIATE_TEST_SUITE_P(OfAConsumer, PointerCrashPoints,
                         ::testing::Values(Crash{"relay.after_send", 1}, Crash{"relay.after_ack", 1},
                                           Crash{"relay.after_mark", 1}, Crash{"dedup.after_claim", 7},
                                           Crash{"dedup.after_handler", 4}, Crash{"dedup.after_commit", 4},
                                           Crash{"router.before_commit", 7}, Crash{"router.after_commit", 7}),
                         [](const auto& param) {
                           std::string name = param.param.point;
                           for (char& c : name) {
                             if (c == '.' || c == '_') c = 'X';
                           }
                           return name;
                         });

}  // namespace
}  // namespace oncemark
