#include <oncemark/kafka/consumer.hpp>

#include <functional>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <oncemark/kafka/errors.hpp>
#include <oncemark/kafka/producer.hpp>

#include "unit/kafka/mock_cluster.hpp"

namespace oncemark::kafka {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using namespace std::chrono_literals;
using Steady = std::chrono::steady_clock;

struct Listener final : RebalanceListener {
  void assigned(const std::vector<TopicPartition>& partitions) override {
    has = partitions;
    if (on_assigned) on_assigned();
  }
  void revoked(const std::vector<TopicPartition>& partitions, bool was_lost) override {
    EXPECT_EQ(partitions, has);
    has.clear();
    lost = was_lost;
    if (on_revoked) on_revoked();
  }
  std::vector<TopicPartition> has;
  bool lost = false;
  std::function<void()> on_assigned;
  std::function<void()> on_revoked;
};

class ConsumerTest : public ::testing::Test {
 protected:
  ConsumerTest() { cluster_.create("orders"); }

  ConsumerOptions options() const {
    return {.brokers = cluster_.brokers(),
            .group = "shipping",
            .topics = {"orders"},
            .session_timeout = 6s,
            .start_timeout = 5s,
            .properties = {{"fetch.wait.max.ms", "10"}}};
  }

  void produce(const std::vector<std::string>& payloads) {
    Producer producer({.brokers = cluster_.brokers(), .linger = 0ms});
    for (const std::string& payload : payloads) {
      ASSERT_EQ(producer.send({.topic = "orders", .key = "k", .payload = payload, .headers = {{"h", nullptr}}}, 1),
                Sent::accepted);
    }
    const auto until = Steady::now() + 10s;
    for (std::size_t acked = 0; acked < payloads.size() && Steady::now() < until;) {
      acked += producer.deliveries(100ms).size();
    }
  }

  /// Payloads until there are `count`.
  static std::vector<std::string> read(Consumer& consumer, std::size_t count) {
    std::vector<std::string> result;
    const auto until = Steady::now() + 20s;
    while (result.size() < count && Steady::now() < until) {
      for (const Record& record : consumer.poll(50ms, 100)) result.push_back(record.payload.str());
    }
    return result;
  }

  static void poll_until_assigned(Consumer& consumer, const Listener& listener) {
    const auto until = Steady::now() + 20s;
    while (listener.has.empty() && Steady::now() < until) ASSERT_THAT(consumer.poll(10ms, 1), IsEmpty());
  }

  MockCluster cluster_;
  Listener listener_;
};

TEST_F(ConsumerTest, ReadsFromTheBeginningWithoutACommittedPosition) {
  produce({"a", "b"});
  Consumer consumer(options());

  consumer.subscribe({}, listener_);

  EXPECT_THAT(read(consumer, 2), ElementsAre("a", "b"));
  EXPECT_THAT(listener_.has, ElementsAre(TopicPartition{"orders", 0}));
}

TEST_F(ConsumerTest, GoesOnFromTheCommittedPosition) {
  produce({"a", "b", "c"});
  {
    Consumer first(options());
    first.subscribe({}, listener_);
    EXPECT_THAT(read(first, 3), SizeIs(3));
    first.commit({{"orders", 0, 2}});
    first.close();
    EXPECT_THAT(listener_.has, IsEmpty());
    EXPECT_FALSE(listener_.lost);
  }
  Consumer second(options());
  second.subscribe({}, listener_);

  EXPECT_THAT(read(second, 1), ElementsAre("c"));
}

TEST_F(ConsumerTest, LetsTheListenerCommitWhileItCloses) {
  produce({"a", "b"});
  Consumer first(options());
  listener_.on_revoked = [&] { first.commit({{"orders", 0, 1}}); };
  first.subscribe({}, listener_);
  EXPECT_THAT(read(first, 2), SizeIs(2));
  first.close();
  listener_.on_revoked = nullptr;

  Consumer second(options());
  second.subscribe({}, listener_);

  EXPECT_THAT(read(second, 1), ElementsAre("b"));
}

TEST_F(ConsumerTest, HandsRecordsOverAsTheyAre) {
  produce({"a"});
  Consumer consumer(options());
  consumer.subscribe({}, listener_);
  std::vector<Record> records;
  const auto until = Steady::now() + 20s;
  while (records.empty() && Steady::now() < until) records = consumer.poll(50ms, 10);

  ASSERT_THAT(records, SizeIs(1));
  EXPECT_EQ(records[0].position, (Position{"orders", 0, 0}));
  EXPECT_EQ(records[0].key, Bytes("k"));
  EXPECT_EQ(records[0].headers, (Headers{{"h", nullptr}}));
  const auto age = std::chrono::system_clock::now() - records[0].timestamp;
  EXPECT_LT(std::chrono::abs(age), 1min);
}

TEST_F(ConsumerTest, TakesAtMostWhatIsAskedFor) {
  produce({"a", "b", "c"});
  Consumer consumer(options());
  consumer.subscribe({}, listener_);
  EXPECT_THAT(read(consumer, 1), SizeIs(3));

  produce({"d", "e", "f"});
  std::vector<Record> records;
  const auto until = Steady::now() + 20s;
  while (records.empty() && Steady::now() < until) records = consumer.poll(50ms, 2);
  EXPECT_LE(records.size(), 2u);
}

TEST_F(ConsumerTest, SkipsNothingOverAPause) {
  produce({"a", "b", "c", "d"});
  Consumer consumer(options());
  consumer.subscribe({}, listener_);
  std::vector<Record> first;
  const auto until = Steady::now() + 20s;
  while (first.empty() && Steady::now() < until) first = consumer.poll(50ms, 2);  // c and d may be fetched already

  consumer.set_paused(listener_.has, true);
  consumer.set_paused(listener_.has, true);
  EXPECT_THAT(consumer.poll(100ms, 10), IsEmpty());
  consumer.set_paused(listener_.has, false);
  consumer.set_paused(listener_.has, false);

  std::vector<std::string> all;
  for (const Record& record : first) all.push_back(record.payload.str());
  for (const std::string& payload : read(consumer, 4 - all.size())) all.push_back(payload);
  EXPECT_THAT(all, ElementsAre("a", "b", "c", "d"));
  EXPECT_THAT(consumer.poll(200ms, 10), IsEmpty());
}

TEST_F(ConsumerTest, ToleratesPausingWhatItDoesNotHave) {
  Consumer consumer(options());
  consumer.subscribe({}, listener_);

  EXPECT_NO_THROW(consumer.set_paused({{"orders", 0}, {"nowhere", 7}}, true));
  EXPECT_NO_THROW(consumer.commit({{"nowhere", 7, 1}}));
}

TEST_F(ConsumerTest, RethrowsWhatTheListenerThrows) {
  Consumer consumer(options());
  listener_.on_assigned = [] { throw std::runtime_error("listener"); };
  consumer.subscribe({}, listener_);

  const auto until = Steady::now() + 20s;
  EXPECT_THROW(
      while (Steady::now() < until) (void)consumer.poll(10ms, 1), std::runtime_error);

  listener_.on_revoked = [] { throw std::logic_error("again"); };
  EXPECT_THROW(consumer.close(), std::logic_error);
}

TEST_F(ConsumerTest, StopsWithoutACommittedPositionWhenToldTo) {
  auto careful = options();
  careful.when_no_offset = StartAt::stop;
  Consumer consumer(careful);
  consumer.subscribe({}, listener_);

  const auto until = Steady::now() + 20s;
  try {
    while (Steady::now() < until) (void)consumer.poll(10ms, 1);
    FAIL() << "nothing was thrown";
  } catch (const KafkaError& error) {
    EXPECT_EQ(error.kind(), ErrorKind::permanent);
    EXPECT_THAT(error.what(), HasSubstr("orders/0"));
    EXPECT_THAT(error.what(), HasSubstr("kafka-consumer-groups.sh"));
  }
  EXPECT_THAT(listener_.has, IsEmpty());
}

TEST_F(ConsumerTest, StartsNothingWhileItCannotLearnWhereTo) {
  produce({"a"});
  cluster_.answer(MockCluster::kOffsetFetch, {RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED});
  Consumer consumer(options());
  consumer.subscribe({}, listener_);

  const auto until = Steady::now() + 20s;
  EXPECT_THROW(
      while (Steady::now() < until) (void)consumer.poll(10ms, 1), KafkaError);
  EXPECT_THAT(listener_.has, IsEmpty());

  EXPECT_THAT(read(consumer, 1), ElementsAre("a"));  // asked again, the broker answers
  EXPECT_THAT(listener_.has, SizeIs(1));
}

TEST_F(ConsumerTest, ReadsAgainFromTheCommittedPositionWhenAPlaceCannotBeRead) {
  produce({"a", "b", "c"});
  Consumer consumer(options());
  consumer.subscribe({}, listener_);
  EXPECT_THAT(read(consumer, 3), SizeIs(3));
  consumer.commit({{"orders", 0, 1}});
  int revoked = 0;
  listener_.on_revoked = [&] { ++revoked; };

  cluster_.answer(MockCluster::kFetch, {RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE});

  EXPECT_THAT(read(consumer, 2), ElementsAre("b", "c"));
  EXPECT_EQ(revoked, 1);
  EXPECT_THAT(listener_.has, SizeIs(1));
}

TEST_F(ConsumerTest, GivesUpOnAPlaceThatCannotBeRead) {
  produce({"a"});
  Consumer consumer(options());
  consumer.subscribe({}, listener_);
  EXPECT_THAT(read(consumer, 1), SizeIs(1));
  cluster_.answer(MockCluster::kFetch, std::vector(1'000, RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE));

  const auto until = Steady::now() + 30s;
  EXPECT_THROW(
      while (Steady::now() < until) (void)consumer.poll(10ms, 1), KafkaError);
}

TEST_F(ConsumerTest, IgnoresCommitsThatComeTooLate) {
  Consumer consumer(options());
  consumer.subscribe({}, listener_);
  poll_until_assigned(consumer, listener_);

  for (auto code : {RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS, RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID}) {
    cluster_.answer(MockCluster::kOffsetCommit, {code});
    EXPECT_NO_THROW(consumer.commit({{"orders", 0, 0}}));
  }
}

TEST_F(ConsumerTest, ThrowsUnavailableWhenACommitFails) {
  Consumer consumer(options());
  consumer.subscribe({}, listener_);
  poll_until_assigned(consumer, listener_);
  cluster_.answer(MockCluster::kOffsetCommit, {RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED});

  try {
    consumer.commit({{"orders", 0, 0}});
    FAIL() << "nothing was thrown";
  } catch (const KafkaError& error) {
    EXPECT_EQ(error.kind(), ErrorKind::unavailable);
    EXPECT_EQ(error.name(), "GROUP_AUTHORIZATION_FAILED");
  }
}

TEST_F(ConsumerTest, SaysWhichSourceTopicIsMissing) {
  cluster_.set_topic_error("orders", RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART);
  Consumer consumer(options());

  try {
    consumer.subscribe({}, listener_);
    FAIL() << "nothing was thrown";
  } catch (const KafkaError& error) {
    EXPECT_EQ(error.kind(), ErrorKind::misuse);
    EXPECT_THAT(error.what(), HasSubstr("source topic orders"));
    EXPECT_THAT(error.what(), HasSubstr("--create --topic orders"));
  }
}

TEST_F(ConsumerTest, SaysWhatItMayNotRead) {
  cluster_.set_topic_error("orders", RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED);
  Consumer consumer(options());

  try {
    consumer.subscribe({}, listener_);
    FAIL() << "nothing was thrown";
  } catch (const KafkaError& error) {
    EXPECT_EQ(error.kind(), ErrorKind::misuse);
    EXPECT_EQ(error.name(), "TOPIC_AUTHORIZATION_FAILED");
  }
}

TEST_F(ConsumerTest, StopsWhenASourceTopicDisappears) {
  produce({"a"});
  auto eager = options();
  eager.properties["topic.metadata.refresh.interval.ms"] = "200";
  Consumer consumer(eager);
  consumer.subscribe({}, listener_);
  EXPECT_THAT(read(consumer, 1), SizeIs(1));

  cluster_.set_topic_error("orders", RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART);

  const auto until = Steady::now() + 20s;
  try {
    while (Steady::now() < until) (void)consumer.poll(50ms, 1);
    FAIL() << "nothing was thrown";
  } catch (const KafkaError& error) {
    EXPECT_EQ(error.kind(), ErrorKind::misuse);
    EXPECT_THAT(error.what(), HasSubstr("orders"));
  }
}

TEST_F(ConsumerTest, ReadsOnAfterAnOutage) {
  produce({"a"});
  Consumer consumer(options());
  consumer.subscribe({}, listener_);
  EXPECT_THAT(read(consumer, 1), SizeIs(1));

  cluster_.set_down();
  EXPECT_THAT(consumer.poll(100ms, 10), IsEmpty());
  cluster_.set_up();
  produce({"b"});

  EXPECT_THAT(read(consumer, 1), ElementsAre("b"));
}

TEST_F(ConsumerTest, ClosesInTimeWhileNoBrokerAnswers) {
  produce({"a"});
  Consumer consumer(options());
  consumer.subscribe({}, listener_);
  EXPECT_THAT(read(consumer, 1), SizeIs(1));
  cluster_.set_down();

  const auto start = Steady::now();
  consumer.close();

  EXPECT_LT(Steady::now() - start, 7s);
  EXPECT_THAT(listener_.has, IsEmpty());
}

TEST_F(ConsumerTest, RefusesToBeUsedOutOfOrder) {
  Consumer consumer(options());
  EXPECT_THROW((void)consumer.poll(0ms, 1), MisuseError);
  EXPECT_THROW(consumer.commit({}), MisuseError);
  consumer.close();
  consumer.close();
  EXPECT_THROW((void)consumer.poll(0ms, 1), MisuseError);
  EXPECT_THROW(consumer.subscribe({}, listener_), MisuseError);
}

}  // namespace
}  // namespace oncemark::kafka
