// A consumer against librdkafka's mock brokers, which can be told to fail. Each member takes 3 s to join there.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <oncemark/kafka/consumer.hpp>
#include <oncemark/kafka/errors.hpp>

#include "integration/kafka/traffic.hpp"
#include "unit/kafka/mock_cluster.hpp"

namespace oncemark::kafka {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using namespace std::chrono_literals;
using Steady = std::chrono::steady_clock;

class ConsumerFaultsTest : public ::testing::Test {
 protected:
  ConsumerFaultsTest() { cluster_.create("orders"); }

  ConsumerOptions options() const {
    return {.brokers = cluster_.brokers(),
            .group = "shipping",
            .topics = {"orders"},
            .session_timeout = 6s,
            .start_timeout = 5s,
            .properties = {{"fetch.wait.max.ms", "10"}}};
  }

  MockCluster cluster_;
  Listener listener_;
};

TEST_F(ConsumerFaultsTest, StartsNothingWhileItCannotLearnWhereTo) {
  produce(cluster_.brokers(), "orders", {"a"});
  cluster_.answer(MockCluster::kOffsetFetch, {RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED});
  Consumer consumer(options());
  consumer.subscribe({}, listener_);

  EXPECT_EQ(poll_until_it_throws<KafkaError>(consumer).kind(), ErrorKind::misuse);
  EXPECT_THAT(listener_.has, IsEmpty());

  EXPECT_THAT(read(consumer, 1), ElementsAre("a"));  // asked again, the broker answers
  EXPECT_THAT(listener_.has, SizeIs(1));
}

TEST_F(ConsumerFaultsTest, ReadsAgainFromTheCommittedPositionWhenAPlaceCannotBeRead) {
  produce(cluster_.brokers(), "orders", {"a", "b", "c"});
  Consumer consumer(options());
  consumer.subscribe({}, listener_);
  EXPECT_THAT(read(consumer, 3), SizeIs(3));
  consumer.commit({{"orders", 0, 1}});

  cluster_.answer(MockCluster::kFetch, {RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE});

  EXPECT_THAT(read(consumer, 2), ElementsAre("b", "c"));
  EXPECT_EQ(listener_.times_revoked, 1);
  EXPECT_FALSE(listener_.lost);
  EXPECT_THAT(listener_.has, SizeIs(1));
}

TEST_F(ConsumerFaultsTest, GivesUpOnAPlaceThatCannotBeReadAndSaysSoAgain) {
  produce(cluster_.brokers(), "orders", {"a"});
  Consumer consumer(options());
  consumer.subscribe({}, listener_);
  EXPECT_THAT(read(consumer, 1), SizeIs(1));
  consumer.commit({{"orders", 0, 1}});
  cluster_.answer(MockCluster::kFetch, std::vector(1'000, RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE));

  for (int i = 0; i < 2; ++i) {
    const auto error = poll_until_it_throws<KafkaError>(consumer);
    EXPECT_EQ(error.kind(), ErrorKind::permanent);
    EXPECT_THAT(error.what(), HasSubstr("orders/0@1"));
  }
  EXPECT_THAT(listener_.has, IsEmpty());
}

TEST_F(ConsumerFaultsTest, IgnoresCommitsThatComeTooLate) {
  Consumer consumer(options());
  consumer.subscribe({}, listener_);
  poll_until(consumer, [&] { return !listener_.has.empty(); });

  for (auto code : {RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS, RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID}) {
    cluster_.answer(MockCluster::kOffsetCommit, {code});
    EXPECT_NO_THROW(consumer.commit({{"orders", 0, 0}}));
  }
}

TEST_F(ConsumerFaultsTest, ThrowsUnavailableWhenACommitFails) {
  Consumer consumer(options());
  consumer.subscribe({}, listener_);
  poll_until(consumer, [&] { return !listener_.has.empty(); });
  cluster_.answer(MockCluster::kOffsetCommit, {RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED});

  try {
    consumer.commit({{"orders", 0, 0}});
    FAIL() << "nothing was thrown";
  } catch (const KafkaError& error) {
    EXPECT_EQ(error.kind(), ErrorKind::unavailable);
    EXPECT_EQ(error.name(), "GROUP_AUTHORIZATION_FAILED");
  }
}

TEST_F(ConsumerFaultsTest, StopsWhenASourceTopicDisappears) {
  produce(cluster_.brokers(), "orders", {"a"});
  auto attentive = options();
  attentive.properties["topic.metadata.refresh.interval.ms"] = "200";
  Consumer consumer(attentive);
  consumer.subscribe({}, listener_);
  EXPECT_THAT(read(consumer, 1), SizeIs(1));

  cluster_.set_topic_error("orders", RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART);

  const auto error = poll_until_it_throws<KafkaError>(consumer);
  EXPECT_EQ(error.kind(), ErrorKind::misuse);
  EXPECT_THAT(error.what(), HasSubstr("source topic orders"));
}

TEST_F(ConsumerFaultsTest, ReadsOnAfterAnOutage) {
  produce(cluster_.brokers(), "orders", {"a"});
  Consumer consumer(options());
  consumer.subscribe({}, listener_);
  EXPECT_THAT(read(consumer, 1), SizeIs(1));

  cluster_.set_down();
  EXPECT_THAT(consumer.poll(100ms, 10), IsEmpty());
  cluster_.set_up();
  produce(cluster_.brokers(), "orders", {"b"});

  EXPECT_THAT(read(consumer, 1), ElementsAre("b"));
}

TEST_F(ConsumerFaultsTest, StartsOnceTheBrokersAreBack) {
  produce(cluster_.brokers(), "orders", {"a"});
  Consumer consumer(options());
  consumer.subscribe({}, listener_);
  // What the coordinator cannot tell for longer than a rebalance may take.
  cluster_.answer(MockCluster::kOffsetFetch, std::vector(8, RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE));

  EXPECT_THAT(read(consumer, 1), ElementsAre("a"));
}

TEST_F(ConsumerFaultsTest, ClosesInTimeWhileNoBrokerAnswers) {
  produce(cluster_.brokers(), "orders", {"a"});
  Consumer consumer(options());
  consumer.subscribe({}, listener_);
  EXPECT_THAT(read(consumer, 1), SizeIs(1));
  cluster_.set_down();

  const auto start = Steady::now();
  consumer.close();

  EXPECT_LT(Steady::now() - start, 7s);
  EXPECT_THAT(listener_.has, IsEmpty());
}

TEST_F(ConsumerFaultsTest, BoundsACommitWhileNoBrokerAnswers) {
  Consumer consumer(options());
  consumer.subscribe({}, listener_);
  poll_until(consumer, [&] { return !listener_.has.empty(); });
  cluster_.set_down();

  const auto start = Steady::now();
  EXPECT_THROW(consumer.commit({{"orders", 0, 0}}), KafkaError);

  EXPECT_LT(Steady::now() - start, 12s);
}

}  // namespace
}  // namespace oncemark::kafka
