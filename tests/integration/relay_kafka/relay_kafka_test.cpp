#include <algorithm>
#include <map>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <oncemark/kafka/consumer.hpp>
#include <oncemark/kafka/producer.hpp>
#include <oncemark/outbox/relay.hpp>
#include <oncemark/outbox/writer.hpp>

#include "support/eventually.hpp"
#include "support/stack.hpp"
#include "support/temp_schema.hpp"
#include "support/unique_topic.hpp"

namespace oncemark::outbox {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using testing::eventually;
using testing::Stack;
using testing::unique_name;
using testing::unique_topic;

struct NoListener final : RebalanceListener {
  void assigned(const std::vector<TopicPartition>&) override {}
  void revoked(const std::vector<TopicPartition>&, bool) override {}
};

/// An outbox and the real producer.
class RelayKafkaTest : public ::testing::Test {
 protected:
  void put(const std::vector<Draft>& drafts) {
    pool_.transact([&](mysql::Transaction& tx) {
      for (const Draft& draft : drafts) append(tx, draft);
    });
  }
  std::uint64_t count(const std::string& condition) {
    return pool_.transact([&](mysql::Transaction& tx) {
      return tx.query_row("SELECT COUNT(*) FROM outbox_message WHERE " + condition)->get<std::uint64_t>(0);
    });
  }
  /// The first `records` records of the topic, as a consumer that has nothing to do with the relay sees them.
  static std::vector<Record> read(const std::string& topic, std::size_t records) {
    kafka::Consumer consumer({.brokers = Stack::brokers(), .group = unique_name("group"), .topics = {topic}});
    NoListener listener;
    consumer.subscribe({}, listener);
    std::vector<Record> found;
    EXPECT_TRUE(eventually(30s, [&] {
      for (Record& record : consumer.poll(20ms, 1'000)) found.push_back(std::move(record));
      return found.size() >= records;
    }));
    consumer.close();
    return found;
  }
  static RelayOptions quick() {
    RelayOptions options;
    options.poll_interval = 5ms;
    options.max_poll_interval = 20ms;
    options.max_attempts = 2;
    options.backoff = {.initial = 50ms, .factor = 2.0, .cap = 400ms, .jitter = 0};
    return options;
  }

  testing::TempSchema schema_{testing::Tables::ours};
  mysql::Pool pool_{schema_.options()};
  kafka::Producer producer_{{.brokers = Stack::brokers()}};
};

TEST_F(RelayKafkaTest, BringsEveryByteToTheTopicAndEachKeyInOrder) {
  const std::string topic = unique_topic(4);
  std::vector<Draft> drafts;
  for (int i = 0; i < 50; ++i) {
    for (const std::string key : {"a", "b", "c"}) {
      drafts.push_back({.topic = topic, .key = key, .payload = std::to_string(i)});
    }
  }
  drafts.push_back(
      {.topic = topic, .key = "", .payload = nullptr, .headers = {{"h", nullptr}, {"h", "2"}}, .id = "tomb"});
  drafts.push_back({.topic = topic, .key = nullptr, .payload = ""});
  put(drafts);
  Relay relay(pool_, producer_, quick());

  EXPECT_TRUE(eventually(30s, [&] { return count("status = 'sent'") == drafts.size(); }));

  std::map<std::string, std::vector<int>> payloads;
  for (const Record& record : read(topic, drafts.size())) {
    if (record.key.is_null()) {
      EXPECT_EQ(record.payload, Bytes(""));
    } else if (record.key.empty()) {
      EXPECT_TRUE(record.payload.is_null());
      EXPECT_EQ(record.headers.text("om-message-id"), "tomb");
      EXPECT_EQ(*record.headers.begin(), (Header{"h", nullptr}));
    } else {
      payloads[record.key.str()].push_back(std::stoi(record.payload.str()));
    }
  }
  ASSERT_EQ(payloads.size(), 3u);
  for (const auto& [key, numbers] : payloads) {
    EXPECT_EQ(numbers.size(), 50u);
    EXPECT_TRUE(std::is_sorted(numbers.begin(), numbers.end())) << key;
  }
}

// A broker refuses the whole record batch for one record that is too large.
TEST_F(RelayKafkaTest, GivesUpTheRowThatIsTooLargeAndNoOther) {
  const std::string topic = unique_topic(1, {{"max.message.bytes", "2000"}});
  put({{.topic = topic, .key = "a", .payload = "1"},
       {.topic = topic, .key = "b", .payload = std::string(3'000, 'x'), .id = "large"},
       {.topic = topic, .key = "a", .payload = "2"},
       {.topic = topic, .key = "c", .payload = "3"}});
  Relay relay(pool_, producer_, quick());

  EXPECT_TRUE(eventually(30s, [&] { return count("status = 'sent'") == 3 && count("status = 'dead'") == 1; }));

  EXPECT_EQ(
      count("message_id = 'large' AND status = 'dead' AND attempts = 2 AND last_error LIKE '%MSG_SIZE_TOO_LARGE%'"),
      1u);
  EXPECT_EQ(count("status = 'sent' AND attempts = 0 AND last_error IS NULL"), 3u);
  std::vector<std::string> of_a;
  for (const Record& record : read(topic, 3)) {
    if (record.key == Bytes("a")) of_a.push_back(record.payload.str());
  }
  EXPECT_THAT(of_a, ElementsAre("1", "2"));
}

TEST_F(RelayKafkaTest, SendsToOtherTopicsWhileOneDoesNotExist) {
  const std::string topic = unique_topic(1);
  put({{.topic = unique_name("nowhere"), .key = "a", .id = "lost"}, {.topic = topic, .key = "b"}});
  Relay relay(pool_, producer_, quick());

  EXPECT_TRUE(eventually(60s, [&] { return count("status = 'sent'") == 1 && count("status = 'dead'") == 1; }));

  EXPECT_EQ(count("message_id = 'lost' AND status = 'dead'"), 1u);
}

}  // namespace
}  // namespace oncemark::outbox
