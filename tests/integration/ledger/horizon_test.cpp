#include <oncemark/ledger/horizon.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <oncemark/testing/builders.hpp>

#include "support/temp_schema.hpp"

namespace oncemark::ledger {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using testing::message_with_id;
using testing::Tables;
using testing::TempSchema;

const Time kEvent = message_with_id("o").event_time;

class HorizonTest : public ::testing::Test {
 protected:
  void raise(const std::vector<Purged>& marks, const std::string& consumer = "shipping") {
    pool_.transact([&](mysql::Transaction& tx) { raise_horizon(tx, consumer, marks); });
  }
  std::vector<std::size_t> older(const std::vector<Message>& messages) {
    std::vector<const Message*> pointers;
    for (const Message& message : messages) pointers.push_back(&message);
    return pool_.transact([&](mysql::Transaction& tx) { return find_older_than_horizon(tx, "shipping", pointers); });
  }
  static Message message(int partition, std::chrono::seconds later, const std::string& topic = "orders") {
    Message made = message_with_id("o-1");
    made.origin = {.topic = topic, .partition = partition, .offset = 7};
    made.event_time = kEvent + later;
    return made;
  }

  TempSchema schema_{Tables::ours};
  mysql::Pool pool_{schema_.options()};
};

TEST_F(HorizonTest, TellsMessagesThatAreNotYoungerPerTopicAndPartition) {
  raise({{.topic = "orders", .partition = 0, .event_time = kEvent},
         {.topic = "orders", .partition = 0, .event_time = kEvent - 1h},
         {.topic = "orders", .partition = 1, .event_time = kEvent - 1h}});
  raise({{.topic = "orders", .partition = 2, .event_time = kEvent}}, "billing");

  EXPECT_THAT(older({message(0, 0s), message(0, 1s), message(0, -1h), message(1, 0s), message(1, -1h), message(2, 0s),
                     message(0, 0s, "returns")}),
              ElementsAre(0, 2, 4));
  EXPECT_THAT(older({}), IsEmpty());
}

TEST_F(HorizonTest, NeverFalls) {
  raise({{.topic = "orders", .event_time = kEvent}});
  raise({{.topic = "orders", .event_time = kEvent - 1h}});

  EXPECT_THAT(older({message(0, 0s)}), ElementsAre(0));
}

TEST_F(HorizonTest, MattersToNoMessageThatIsYoungerThanHalfTheRetention) {
  const HorizonOptions options{.retention = 10s};
  const Message made = message(0, 0s);

  EXPECT_FALSE(is_near_horizon(options, made, kEvent + 4s));
  EXPECT_TRUE(is_near_horizon(options, made, kEvent + 6s));
  EXPECT_FALSE(is_near_horizon({.retention = 10s, .older_than_horizon = OlderThanHorizon::process}, made, kEvent + 1h));
}

TEST_F(HorizonTest, RefusesAConsumerThatCountsOnALongerRetentionThanTheSweepers) {
  EXPECT_NO_THROW(require_retention(pool_, {.retention = 100h}));
  pool_.transact([](mysql::Transaction& tx) {
    tx.execute("INSERT INTO sweep_progress VALUES ('marks', 'shipping', '', 360000, UTC_TIMESTAMP(6))");
  });

  EXPECT_NO_THROW(require_retention(pool_, {.retention = 100h}));
  EXPECT_NO_THROW(require_retention(pool_, {.retention = 101h, .older_than_horizon = OlderThanHorizon::process}));
  EXPECT_THROW(require_retention(pool_, {.retention = 101h}), MisuseError);
}

}  // namespace
}  // namespace oncemark::ledger
