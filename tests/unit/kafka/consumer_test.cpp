#include <oncemark/kafka/consumer.hpp>

#include <memory>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <oncemark/core/error.hpp>
#include <oncemark/kafka/errors.hpp>

#include "unit/kafka/mock_cluster.hpp"

namespace oncemark::kafka {
namespace {

using ::testing::HasSubstr;
using namespace std::chrono_literals;
using Steady = std::chrono::steady_clock;

struct Listener final : RebalanceListener {
  void assigned(const std::vector<TopicPartition>&) override {}
  void revoked(const std::vector<TopicPartition>&, bool) override {}
};

// Members of a group are in tests/integration: librdkafka's mock broker takes 3 s for each to join.
class ConsumerTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    cluster_ = std::make_unique<MockCluster>();
    cluster_->create("orders");
  }
  static void TearDownTestSuite() { cluster_.reset(); }

  ConsumerOptions options() const {
    return {.brokers = cluster_->brokers(), .group = "shipping", .topics = {"orders"}, .start_timeout = 5s};
  }

  // One for all tests: the end of one takes a second.
  static std::unique_ptr<MockCluster> cluster_;
  Listener listener_;
};

std::unique_ptr<MockCluster> ConsumerTest::cluster_;

TEST_F(ConsumerTest, SaysWhichSourceTopicIsMissing) {
  auto missing = options();
  missing.topics = {"orders", "nowhere"};
  cluster_->set_topic_error("nowhere", RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART);
  Consumer consumer(missing);

  try {
    consumer.subscribe({}, listener_);
    FAIL() << "nothing was thrown";
  } catch (const KafkaError& error) {
    EXPECT_EQ(error.kind(), ErrorKind::misuse);
    EXPECT_THAT(error.what(), HasSubstr("source topic nowhere"));
    EXPECT_THAT(error.what(), HasSubstr("--create --topic nowhere"));
  }
}

TEST_F(ConsumerTest, SaysWhatItMayNotRead) {
  auto secret = options();
  secret.topics = {"secret"};
  cluster_->set_topic_error("secret", RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED);
  Consumer consumer(secret);

  try {
    consumer.subscribe({}, listener_);
    FAIL() << "nothing was thrown";
  } catch (const KafkaError& error) {
    EXPECT_EQ(error.kind(), ErrorKind::misuse);
    EXPECT_EQ(error.name(), "TOPIC_AUTHORIZATION_FAILED");
  }
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

TEST_F(ConsumerTest, SaysWhyNoBrokerAnswers) {
  auto nowhere = options();
  nowhere.brokers = "127.0.0.1:1";
  nowhere.start_timeout = 500ms;
  Consumer consumer(nowhere);

  const auto start = Steady::now();
  try {
    consumer.subscribe({}, listener_);
    FAIL() << "nothing was thrown";
  } catch (const KafkaError& error) {
    EXPECT_EQ(error.kind(), ErrorKind::unavailable);
    EXPECT_THAT(error.what(), HasSubstr("no broker of 127.0.0.1:1 has answered group shipping for 500 ms"));
    EXPECT_THAT(error.what(), HasSubstr("Connection refused"));
    EXPECT_THAT(error.what(), HasSubstr("check that the brokers run"));
  }
  EXPECT_LT(Steady::now() - start, 2s);
}

TEST_F(ConsumerTest, WaitsForBrokersThatStartLater) {
  cluster_->set_down();
  Consumer consumer(options());
  std::jthread late([this] {
    std::this_thread::sleep_for(300ms);
    cluster_->set_up();
  });

  EXPECT_NO_THROW(consumer.subscribe({}, listener_));
}

}  // namespace
}  // namespace oncemark::kafka
