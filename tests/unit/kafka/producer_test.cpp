#include <oncemark/kafka/producer.hpp>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <memory>
#include <system_error>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/kafka_log.hpp"
#include "unit/kafka/mock_cluster.hpp"

namespace oncemark::kafka {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using namespace std::chrono_literals;
using Steady = std::chrono::steady_clock;

/// Takes connections and says nothing.
class SilentServer {
 public:
  SilentServer() {
    sockaddr_in name{};
    name.sin_family = AF_INET;
    name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof name;
    auto* address = reinterpret_cast<sockaddr*>(&name);
    if (bind(socket_, address, size) || listen(socket_, 8) || getsockname(socket_, address, &size)) {
      throw std::system_error(errno, std::generic_category());
    }
    port_ = ntohs(name.sin_port);
  }
  ~SilentServer() { close(socket_); }
  SilentServer(const SilentServer&) = delete;
  SilentServer& operator=(const SilentServer&) = delete;

  [[nodiscard]] std::string address() const { return "127.0.0.1:" + std::to_string(port_); }

 private:
  const int socket_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  int port_ = 0;
};

class ProducerTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { cluster_ = std::make_unique<MockCluster>(); }
  static void TearDownTestSuite() { cluster_.reset(); }

  ProducerTest() { cluster_->create(topic_); }

  ProducerOptions options(Properties properties = {}) const {
    return {.brokers = cluster_->brokers(), .linger = 0ms, .properties = std::move(properties)};
  }

  /// Reports until there are `count`, by token.
  static std::map<std::uint64_t, Delivery> collect(Producer& producer, std::size_t count) {
    std::map<std::uint64_t, Delivery> result;
    const auto until = Steady::now() + 20s;
    while (result.size() < count && Steady::now() < until) {
      for (Delivery& delivery : producer.deliveries(100ms)) result[delivery.token] = std::move(delivery);
    }
    EXPECT_EQ(result.size(), count);
    return result;
  }

  static void send(Producer& producer, const OutgoingRecord& record, std::uint64_t token) {
    while (producer.send(record, token) == Sent::queue_full) (void)producer.deliveries(10ms);
  }

  // One for all tests: the end of one takes a second.
  static std::unique_ptr<MockCluster> cluster_;
  const std::string topic_ = ::testing::UnitTest::GetInstance()->current_test_info()->name();
};

std::unique_ptr<MockCluster> ProducerTest::cluster_;

TEST_F(ProducerTest, ReportsWhatTheBrokerAcked) {
  Producer producer(options());
  EXPECT_EQ(producer.send({.topic = topic_, .payload = "a"}, 1), Sent::accepted);
  EXPECT_EQ(producer.send({.topic = topic_, .payload = "b"}, 0xFFFF'FFFF'FFFF'FFFF), Sent::accepted);

  const auto reports = collect(producer, 2);

  EXPECT_EQ(reports.at(1).status, DeliveryStatus::acked);
  EXPECT_EQ(reports.at(1).error, "");
  EXPECT_EQ(reports.at(0xFFFF'FFFF'FFFF'FFFF).status, DeliveryStatus::acked);
}

TEST_F(ProducerTest, ReturnsAtOnceWhenNothingIsInFlight) {
  Producer producer(options());
  const auto start = Steady::now();

  EXPECT_THAT(producer.deliveries(10s), IsEmpty());

  EXPECT_LT(Steady::now() - start, 1s);
}

TEST_F(ProducerTest, KeepsNullAndEmptyApart) {
  Producer producer(options());
  send(producer, {.topic = topic_, .key = nullptr, .payload = nullptr}, 1);
  send(producer, {.topic = topic_, .key = "", .payload = nullptr}, 2);
  send(producer, {.topic = topic_, .key = nullptr, .payload = ""}, 3);
  send(producer, {.topic = topic_, .key = std::string("\0k", 2), .payload = std::string("\0\xff", 2)}, 4);
  (void)collect(producer, 4);

  const auto records = testing::read_topic(cluster_->brokers(), topic_);

  ASSERT_EQ(records.size(), 4u);
  EXPECT_EQ(records[0].key, Bytes(nullptr));
  EXPECT_EQ(records[0].payload, Bytes(nullptr));
  EXPECT_EQ(records[1].key, Bytes(""));
  EXPECT_EQ(records[1].payload, Bytes(nullptr));
  EXPECT_EQ(records[2].key, Bytes(nullptr));
  EXPECT_EQ(records[2].payload, Bytes(""));
  EXPECT_EQ(records[3].key, Bytes(std::string("\0k", 2)));
  EXPECT_EQ(records[3].payload, Bytes(std::string("\0\xff", 2)));
}

TEST_F(ProducerTest, KeepsHeadersAsTheyAre) {
  const Headers headers{{"b", "1"}, {"a", nullptr}, {"a", ""}, {"", "nameless"}, {"b", std::string("\0\xff", 2)}};
  Producer producer(options());
  send(producer, {.topic = topic_, .headers = headers}, 1);
  (void)collect(producer, 1);

  const auto records = testing::read_topic(cluster_->brokers(), topic_);

  ASSERT_EQ(records.size(), 1u);
  EXPECT_EQ(records[0].headers, headers);
}

TEST_F(ProducerTest, ReportsWhatTheBrokerRefuses) {
  Producer producer(options());
  cluster_->answer(MockCluster::kProduce, {RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE});
  send(producer, {.topic = topic_, .payload = "a"}, 1);

  const auto refused = collect(producer, 1).at(1);
  send(producer, {.topic = topic_, .payload = "b"}, 2);

  EXPECT_EQ(refused.status, DeliveryStatus::refused);
  EXPECT_THAT(refused.error, HasSubstr("topic " + topic_ + ": MSG_SIZE_TOO_LARGE"));
  EXPECT_THAT(refused.error, HasSubstr("max.message.bytes"));
  EXPECT_EQ(collect(producer, 1).at(2).status, DeliveryStatus::acked);  // one refusal does not end it
}

TEST_F(ProducerTest, ReportsWhatTheClientRefuses) {
  Producer producer(options({{"message.max.bytes", "1000"}}));

  EXPECT_EQ(producer.send({.topic = topic_, .payload = std::string(2'000, 'x')}, 1), Sent::accepted);
  EXPECT_EQ(producer.send({.topic = "no such name", .payload = "x"}, 2), Sent::accepted);
  EXPECT_EQ(producer.send({.topic = "", .payload = "x"}, 3), Sent::accepted);
  EXPECT_EQ(producer.send({.topic = std::string("orders\0x", 8), .payload = "x"}, 4), Sent::accepted);

  const auto reports = collect(producer, 4);
  EXPECT_THAT(reports.at(1).error, HasSubstr("MSG_SIZE_TOO_LARGE"));
  EXPECT_THAT(reports.at(2).error, HasSubstr("TOPIC_EXCEPTION"));
  for (const auto& [token, report] : reports) EXPECT_EQ(report.status, DeliveryStatus::refused) << token;
}

TEST_F(ProducerTest, ReportsAnUnknownTopicAndSendsOnceItExists) {
  cluster_->set_topic_error("late", RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART);
  Producer producer(options({{"topic.metadata.propagation.max.ms", "100"}}));
  send(producer, {.topic = "late", .payload = "a"}, 1);

  const auto refused = collect(producer, 1).at(1);
  EXPECT_EQ(refused.status, DeliveryStatus::refused);
  EXPECT_THAT(refused.error, HasSubstr("create the topic"));

  cluster_->set_topic_error("late", RD_KAFKA_RESP_ERR_NO_ERROR);
  const auto until = Steady::now() + 10s;
  auto status = DeliveryStatus::refused;
  while (status == DeliveryStatus::refused && Steady::now() < until) {
    send(producer, {.topic = "late", .payload = "a"}, 2);
    status = collect(producer, 1).at(2).status;
  }
  EXPECT_EQ(status, DeliveryStatus::acked);
}

TEST_F(ProducerTest, SaysWhenItsQueueIsFull) {
  auto small = options();
  small.max_queued = 2;
  cluster_->set_down();
  Producer producer(small);
  EXPECT_EQ(producer.send({.topic = topic_, .payload = "a"}, 1), Sent::accepted);
  EXPECT_EQ(producer.send({.topic = topic_, .payload = "b"}, 2), Sent::accepted);
  EXPECT_EQ(producer.send({.topic = topic_, .payload = "c"}, 3), Sent::queue_full);

  cluster_->set_up();
  (void)collect(producer, 2);
  EXPECT_EQ(producer.send({.topic = topic_, .payload = "c"}, 3), Sent::accepted);
  EXPECT_EQ(collect(producer, 1).at(3).status, DeliveryStatus::acked);
}

TEST_F(ProducerTest, IsMadeAnewAfterAFatalError) {
  Producer producer(options());
  // A resend after a lost answer that the broker then calls out of order: fatal for an idempotent producer.
  cluster_->answer(MockCluster::kProduce,
                   {RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION, RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER});
  send(producer, {.topic = topic_, .payload = "a"}, 1);
  const auto failed = collect(producer, 1).at(1);
  EXPECT_EQ(failed.status, DeliveryStatus::failed);

  send(producer, {.topic = topic_, .payload = "a"}, 1);
  send(producer, {.topic = topic_, .payload = "b"}, 2);

  const auto reports = collect(producer, 2);
  EXPECT_EQ(reports.at(1).status, DeliveryStatus::acked) << reports.at(1).error;
  EXPECT_EQ(reports.at(2).status, DeliveryStatus::acked) << reports.at(2).error;
}

TEST_F(ProducerTest, ReportsEverythingInFlightWhenAFatalErrorStrikes) {
  cluster_->create("other", 4);
  auto slow = options();
  slow.linger = 50ms;
  Producer producer(slow);
  cluster_->answer(MockCluster::kProduce,
                   {RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION, RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER});
  for (std::uint64_t token = 0; token < 1'000; ++token) {
    send(producer, {.topic = token % 2 == 0 ? topic_ : "other", .key = std::to_string(token)}, token);
  }

  const auto reports = collect(producer, 1'000);

  for (const auto& [token, report] : reports) EXPECT_NE(report.status, DeliveryStatus::refused) << report.error;
}

TEST_F(ProducerTest, DiscardsInTimeWhileNoBrokerAnswersAndReportsNothingLater) {
  cluster_->set_down();
  Producer producer(options());
  for (std::uint64_t token = 1; token <= 100; ++token) {
    EXPECT_EQ(producer.send({.topic = topic_, .payload = "a"}, token), Sent::accepted);
  }
  EXPECT_EQ(producer.send({.topic = "no such name"}, 101), Sent::accepted);

  const auto start = Steady::now();
  producer.discard();
  EXPECT_LT(Steady::now() - start, 1'500ms);
  EXPECT_THAT(producer.deliveries(0ms), IsEmpty());

  cluster_->set_up();
  send(producer, {.topic = topic_, .payload = "b"}, 200);
  EXPECT_EQ(collect(producer, 1).at(200).status, DeliveryStatus::acked);
  const auto records = testing::read_topic(cluster_->brokers(), topic_);
  ASSERT_EQ(records.size(), 1u);
  EXPECT_EQ(records[0].payload, Bytes("b"));
}

TEST_F(ProducerTest, DiscardsInTimeWhileABrokerIsSilent) {
  const SilentServer broker;
  Producer producer({.brokers = broker.address()});
  EXPECT_EQ(producer.send({.topic = topic_, .payload = "a"}, 1), Sent::accepted);
  EXPECT_THAT(producer.deliveries(200ms), IsEmpty());  // connected by now

  const auto start = Steady::now();
  producer.discard();

  EXPECT_LT(Steady::now() - start, 1'500ms);
  EXPECT_THAT(producer.deliveries(0ms), IsEmpty());
}

TEST_F(ProducerTest, DiscardsTwiceAndWhileNothingIsThere) {
  Producer producer(options());

  producer.discard();
  producer.discard();

  EXPECT_THAT(producer.deliveries(10ms), IsEmpty());
  send(producer, {.topic = topic_, .payload = "a"}, 1);
  EXPECT_EQ(collect(producer, 1).at(1).status, DeliveryStatus::acked);
}

TEST_F(ProducerTest, KeepsTheOrderOverAnOutage) {
  Producer producer(options());
  for (int i = 0; i < 50; ++i) send(producer, {.topic = topic_, .payload = std::to_string(i)}, i);
  cluster_->answer(MockCluster::kProduce, {RD_KAFKA_RESP_ERR__TRANSPORT, RD_KAFKA_RESP_ERR__TRANSPORT});
  for (int i = 50; i < 100; ++i) send(producer, {.topic = topic_, .payload = std::to_string(i)}, i);
  (void)collect(producer, 100);

  const auto records = testing::read_topic(cluster_->brokers(), topic_);

  std::vector<int> order;
  for (const Record& record : records) order.push_back(std::stoi(record.payload.str()));
  EXPECT_TRUE(std::is_sorted(order.begin(), order.end()));
}

}  // namespace
}  // namespace oncemark::kafka
