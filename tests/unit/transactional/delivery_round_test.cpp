#include "transactional/delivery_round.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <oncemark/testing/recording_sink.hpp>

namespace oncemark::transactional {
namespace {

using namespace std::chrono_literals;
using testing::Answer;
using testing::RecordingSink;

std::vector<OutgoingRecord> records(const std::vector<std::string>& keys) {
  std::vector<OutgoingRecord> made;
  for (const std::string& key : keys) made.push_back({.topic = "t", .key = Bytes(key)});
  return made;
}

TEST(Deliver, BlamesOnlyTheRecordThatIsRefusedAlone) {
  RecordingSink broker;
  broker.refuse_whole_batches();
  broker.answer_key(Bytes("bad"), Answer::refuse);

  const auto results = deliver(broker, records({"a", "bad", "b"}), 1s);

  EXPECT_EQ(results.at(0).status, DeliveryStatus::acked);
  EXPECT_EQ(results.at(1).status, DeliveryStatus::refused);
  EXPECT_EQ(results.at(2).status, DeliveryStatus::acked);
  EXPECT_EQ(broker.acked_count(), 2u);
}

TEST(Deliver, StartsAfreshWhenTheBrokerIsSilent) {
  RecordingSink broker;
  broker.answer_key(Bytes("lost"), Answer::silence);

  const auto results = deliver(broker, records({"a", "lost"}), 100ms);

  EXPECT_EQ(results.at(0).status, DeliveryStatus::acked);
  EXPECT_EQ(results.at(1).status, DeliveryStatus::failed);
  EXPECT_EQ(broker.discards(), 1);
  EXPECT_EQ(broker.in_flight(), 0u);
}

TEST(Deliver, FillsASmallQueueAgainAndAgain) {
  RecordingSink broker;
  broker.set_capacity(2);

  const auto results = deliver(broker, records({"a", "b", "c", "d", "e"}), 1s);

  EXPECT_THAT(results, ::testing::Each(::testing::Field(&Delivered::status, DeliveryStatus::acked)));
  EXPECT_EQ(broker.acked_count(), 5u);
}

}  // namespace
}  // namespace oncemark::transactional
