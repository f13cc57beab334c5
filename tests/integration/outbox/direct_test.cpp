#include <oncemark/outbox/direct.hpp>

#include <atomic>
#include <csignal>
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <oncemark/core/error.hpp>
#include <oncemark/message/names.hpp>

#include "outbox_fixture.hpp"
#include "relay_process.hpp"

namespace oncemark::outbox {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class DirectSendTest : public OutboxTest {
 protected:
  static Draft unkeyed(const std::string& id) { return {.topic = "t", .payload = "p-" + id, .id = id}; }
  void put_directly(DirectSend& direct, const Draft& draft) {
    pool_.transact([&](mysql::Transaction& tx) { direct.append(tx, draft); });
  }

  RecordingSink direct_broker_;
};

TEST_F(DirectSendTest, SendsRightAfterTheCommitAndNeverBefore) {
  DirectSend direct(pool_, direct_broker_, {.grace = 60s});
  pool_.transact([&](mysql::Transaction& tx) {
    direct.append(tx, unkeyed("m-1"));
    EXPECT_EQ(direct_broker_.handed_over_count(), 0u);
  });

  EXPECT_TRUE(eventually(5s, [&] { return direct_broker_.acked_count() == 1; }));
  const OutgoingRecord record = direct_broker_.acked().at(0);
  EXPECT_EQ(record.payload, Bytes("p-m-1"));
  EXPECT_TRUE(record.key.is_null());
  EXPECT_EQ(record.headers.text(names::kMessageId), "m-1");
  EXPECT_TRUE(record.headers.contains(names::kEventTime));
}

TEST_F(DirectSendTest, MarksWhatWasAckedSoThatTheRelayMakesNoCopies) {
  Relay relay(pool_, broker_, quick());
  {
    DirectSend direct(pool_, direct_broker_, {.grace = 1'500ms});
    for (int i = 0; i < 50; ++i) put_directly(direct, unkeyed(std::to_string(i)));
    EXPECT_TRUE(all_sent());
    EXPECT_EQ(direct.counts().sent, 50u);
  }
  EXPECT_EQ(direct_broker_.acked_count(), 50u);
  EXPECT_THAT(broker_.acked(), IsEmpty());
}

TEST_F(DirectSendTest, RemovesRowsWhereThatIsWanted) {
  DirectSend direct(pool_, direct_broker_, {.grace = 1s, .sent_rows = SentRows::removed});
  put_directly(direct, unkeyed("m-1"));

  EXPECT_TRUE(eventually(5s, [&] { return count("1 = 1") == 0; }));
}

TEST_F(DirectSendTest, SendsNothingForATransactionThatRollsBack) {
  DirectSend direct(pool_, direct_broker_);

  EXPECT_THROW(pool_.transact([&](mysql::Transaction& tx) {
    direct.append(tx, unkeyed("m-1"));
    throw PermanentError("no");
  }),
               PermanentError);

  EXPECT_EQ(direct_broker_.handed_over_count(), 0u);
  EXPECT_EQ(count("1 = 1"), 0u);
}

TEST_F(DirectSendTest, LeavesToTheRelayWhatTheBrokerDoesNotTake) {
  direct_broker_.answer_all(Answer::fail);
  Relay relay(pool_, broker_, quick());
  DirectSend direct(pool_, direct_broker_, {.grace = 200ms});
  put_directly(direct, unkeyed("m-1"));

  EXPECT_TRUE(all_sent());
  EXPECT_THAT(broker_.acked(), SizeIs(1));
  EXPECT_EQ(direct.counts().left, 1u);
}

TEST_F(DirectSendTest, LeavesRowsWithAKeyToTheRelayAndNudgesIt) {
  std::atomic<int> nudges{0};
  DirectSend direct(pool_, direct_broker_, {.nudge = [&] { ++nudges; }});
  put_directly(direct, {.topic = "t", .key = "k", .payload = "1"});
  put_directly(direct, {.topic = "t", .payload = "later", .delay = 1h});

  EXPECT_EQ(count("status = 'pending'"), 1u);
  EXPECT_EQ(count("status = 'waiting'"), 1u);
  EXPECT_EQ(nudges, 1);
  EXPECT_EQ(direct_broker_.handed_over_count(), 0u);
}

TEST_F(DirectSendTest, LeavesToTheRelayWhatItHasNoRoomFor) {
  direct_broker_.answer_all(Answer::silence);
  DirectSend direct(pool_, direct_broker_, {.grace = 60s, .max_open = 2});
  for (const char* id : {"1", "2", "3"}) put_directly(direct, unkeyed(id));

  EXPECT_EQ(direct.counts().left, 1u);
  EXPECT_EQ(count("status = 'waiting'"), 3u);
  direct_broker_.answer_all(Answer::ack);
}

TEST(DirectOptions, NameTheFieldAndTheRange) {
  try {
    DirectOptions{.grace = 1ms}.validate();
    ADD_FAILURE() << "accepted";
  } catch (const MisuseError& error) {
    EXPECT_THAT(error.what(), HasSubstr("DirectOptions::grace is 1 ms"));
  }
}

class DirectCrashTest : public OutboxTest {
 protected:
  TopicFile topic_;
};

TEST_F(DirectCrashTest, LosesNothingWhenKilledBetweenAckAndMark) {
  RelayProcess killed(schema_, topic_.path(), "direct.after_ack:kill@20", 100);
  EXPECT_EQ(killed.wait(), SIGKILL);
  const std::uint64_t rows = count("1 = 1");
  EXPECT_GE(rows, 20u);

  RelayProcess relay(schema_, topic_.path());

  EXPECT_TRUE(all_sent());
  const auto numbers = topic_.by_key()["-"];
  EXPECT_EQ(std::set<int>(numbers.begin(), numbers.end()).size(), rows);
}

}  // namespace
}  // namespace oncemark::outbox
