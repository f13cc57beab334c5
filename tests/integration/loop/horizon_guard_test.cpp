// A message that comes when its mark may have been purged: through claim, effect and failure path.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <oncemark/dead_letter/replay.hpp>
#include <oncemark/dead_letter/router.hpp>
#include <oncemark/inbox/batch_dedup.hpp>
#include <oncemark/inbox/dedup.hpp>
#include <oncemark/ledger/horizon.hpp>
#include <oncemark/testing/builders.hpp>

#include "support/temp_schema.hpp"

namespace oncemark::inbox {
namespace {

using namespace std::chrono_literals;
using consume::Outcome;
using ::testing::ElementsAre;
using testing::message_with_id;
using testing::pointers_to;
using testing::Tables;
using testing::TempSchema;

class HorizonGuardTest : public ::testing::Test {
 protected:
  HorizonGuardTest() { pool_.acquire()->control("CREATE TABLE effect (message_id VARBINARY(255) NOT NULL)"); }

  static void record(const Message& message, mysql::Transaction& tx) {
    tx.execute("INSERT INTO effect (message_id) VALUES (?)", message.id);
  }
  /// What a sweep leaves that removed the message's mark, and others of its age.
  void purge(const Message& message) {
    pool_.transact([&](mysql::Transaction& tx) {
      const ledger::Purged purged{
          .topic = message.origin.topic, .partition = message.origin.partition, .event_time = message.event_time};
      ledger::raise_horizon(tx, "shipping", {&purged, 1});
      tx.execute("DELETE FROM consumed_message WHERE message_key = ?", message.business_key);
    });
  }
  void expect_refused(Dedup& dedup, const Message& message) {
    EXPECT_THROW((void)dedup.handle(message), ledger::OlderThanHorizonError) << message.id;
  }
  std::int64_t count(const std::string& sql) {
    return pool_.transact([&](mysql::Transaction& tx) { return tx.query_row(sql)->get<std::int64_t>(0); });
  }
  std::int64_t effects() { return count("SELECT COUNT(*) FROM effect"); }

  const DedupOptions options_{.consumer = "shipping", .effects = Effects::transaction};
  TempSchema schema_{Tables::ours};
  mysql::Pool pool_{schema_.options()};
  const Message message_ = message_with_id("o-1");  // its event lies far back
};

TEST_F(HorizonGuardTest, RefusesAMessageWhoseMarkWasPurgedAndKeepsNoMark) {
  Dedup dedup{pool_, options_, record};
  ASSERT_EQ(dedup.handle(message_), Outcome::done);
  purge(message_);

  expect_refused(dedup, message_);

  EXPECT_EQ(effects(), 1);
  EXPECT_EQ(count("SELECT COUNT(*) FROM consumed_message"), 0);
}

TEST_F(HorizonGuardTest, HandlesWhatIsYoungerOrOfAnotherPartition) {
  Dedup dedup{pool_, options_, record};
  purge(message_);
  Message younger = message_with_id("o-2");
  younger.event_time += 1us;
  Message elsewhere = message_with_id("o-3");
  elsewhere.origin.partition = 1;

  EXPECT_EQ(dedup.handle(younger), Outcome::done);
  EXPECT_EQ(dedup.handle(elsewhere), Outcome::done);
  expect_refused(dedup, message_);
}

TEST_F(HorizonGuardTest, LeavesADuplicateADuplicateHoweverOldItIs) {
  Dedup dedup{pool_, options_, record};
  ASSERT_EQ(dedup.handle(message_), Outcome::done);
  purge(message_with_id("another one"));

  EXPECT_EQ(dedup.handle(message_), Outcome::duplicate);
}

TEST_F(HorizonGuardTest, HandlesItWhenThePolicySaysSo) {
  DedupOptions options = options_;
  options.horizon.older_than_horizon = ledger::OlderThanHorizon::process;
  Dedup dedup{pool_, options, record};
  purge(message_);

  EXPECT_EQ(dedup.handle(message_), Outcome::done);
}

TEST_F(HorizonGuardTest, RefusesSingleMessagesOfAGroup) {
  const auto check = [&](consume::Handler& handler) {
    Message younger = message_with_id("young");
    younger.event_time += 1h;
    const std::vector<Message> group{message_with_id("old-1"), younger, message_with_id("old-2")};
    const auto handled = handler.handle(pointers_to(group));
    std::vector<bool> failed;
    for (const consume::Settled& settled : handled.messages) failed.push_back(settled.failure != nullptr);
    EXPECT_THAT(failed, ElementsAre(true, false, true));
    EXPECT_EQ(effects(), 1);
    EXPECT_EQ(count("SELECT COUNT(*) FROM consumed_message"), 1);
    pool_.transact([](mysql::Transaction& tx) {
      tx.execute("DELETE FROM consumed_message");
      tx.execute("DELETE FROM effect");
    });
  };
  purge(message_);
  Dedup one_by_one{pool_, options_, record};
  check(one_by_one);
  BatchDedup batch{pool_, options_, [](Batch& fresh, mysql::Transaction& tx) {
                     for (const Message& message : fresh) record(message, tx);
                   }};
  check(batch);
}

TEST_F(HorizonGuardTest, MakesALetterWhoseReplayIsHandled) {
  Dedup dedup{pool_, options_, record};
  purge(message_);
  dead_letter::Router router(pool_);
  try {
    (void)dedup.handle(message_);
    FAIL() << "it was handled";
  } catch (...) {
    EXPECT_EQ(router.route({.message = message_,
                            .consumer = "shipping",
                            .group = "ship-group",
                            .error = summarize_current_exception()}),
              consume::Routed::dead);
  }
  EXPECT_EQ(count("SELECT COUNT(*) FROM dead_letter WHERE error_class = 'older_than_horizon'"), 1);
  EXPECT_EQ(dedup.handle(message_), Outcome::duplicate) << "its copies are copies of a letter";

  dead_letter::Replay replay(pool_);
  (void)replay.start({.selection = {.consumer = "shipping"}, .operator_name = "ann", .reason = "was never handled"});
  (void)replay.run({}, [](const dead_letter::ReplayJob&) {});
  EXPECT_EQ(dedup.handle(testing::retried_message("o-1", 2, 1)), Outcome::done);
  EXPECT_EQ(effects(), 1);
}

TEST_F(HorizonGuardTest, RefusesACopyOfARetryWhoseMarkWasPurged) {
  Dedup dedup{pool_, options_, record};
  purge(message_);

  expect_refused(dedup, testing::retried_message("o-1", 1, 2));
}

TEST_F(HorizonGuardTest, StopsAConsumerThatCountsOnMoreThanTheSweeperKeeps) {
  pool_.transact([](mysql::Transaction& tx) {
    tx.execute("INSERT INTO sweep_progress VALUES ('marks', 'shipping', '', 3600, UTC_TIMESTAMP(6))");
  });
  EXPECT_THROW((Dedup{pool_, options_, record}.prepare()), MisuseError);
  DedupOptions options = options_;
  options.horizon.retention = 1h;
  EXPECT_NO_THROW((Dedup{pool_, options, record}.prepare()));
}

}  // namespace
}  // namespace oncemark::inbox
