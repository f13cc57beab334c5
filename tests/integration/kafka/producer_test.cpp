#include <oncemark/kafka/producer.hpp>

#include <map>
#include <set>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <oncemark/kafka/admin.hpp>
#include <oncemark/observe/log.hpp>

#include "integration/kafka/traffic.hpp"
#include "support/kafka_log.hpp"
#include "support/stack.hpp"
#include "support/unique_topic.hpp"

namespace oncemark::kafka {
namespace {

using testing::eventually;
using ::testing::HasSubstr;
using testing::read_topic;
using ::testing::SizeIs;
using testing::Stack;
using testing::unique_name;
using testing::unique_topic;
using namespace std::chrono_literals;

// org.apache.kafka.common.utils.Utils.murmur2, written from its description.
std::uint32_t murmur2(std::string_view key) {
  constexpr std::uint32_t kMix = 0x5bd1e995;
  const auto byte = [&](std::size_t i) { return static_cast<std::uint32_t>(static_cast<unsigned char>(key[i])); };
  std::uint32_t hash = 0x9747b28c ^ static_cast<std::uint32_t>(key.size());
  std::size_t i = 0;
  for (; i + 4 <= key.size(); i += 4) {
    std::uint32_t k = byte(i) | byte(i + 1) << 8 | byte(i + 2) << 16 | byte(i + 3) << 24;
    k *= kMix;
    k ^= k >> 24;
    hash = hash * kMix ^ k * kMix;
  }
  const std::size_t rest = key.size() - i;
  if (rest >= 3) hash ^= byte(i + 2) << 16;
  if (rest >= 2) hash ^= byte(i + 1) << 8;
  if (rest >= 1) hash = (hash ^ byte(i)) * kMix;
  hash = (hash ^ hash >> 13) * kMix;
  return hash ^ hash >> 15;
}

std::int32_t java_partition(std::string_view key, std::int32_t partitions) {
  return static_cast<std::int32_t>((murmur2(key) & 0x7fffffff) % static_cast<std::uint32_t>(partitions));
}

TEST(Murmur2, GivesWhatKafkasOwnTestExpects) {
  EXPECT_EQ(static_cast<std::int32_t>(murmur2("21")), -973932308);
  EXPECT_EQ(static_cast<std::int32_t>(murmur2("foobar")), -790332482);
  EXPECT_EQ(static_cast<std::int32_t>(murmur2("a-little-bit-long-string")), -985981536);
  EXPECT_EQ(static_cast<std::int32_t>(murmur2("a-little-bit-longer-string")), -1486304829);
  EXPECT_EQ(static_cast<std::int32_t>(murmur2("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8")), -58897971);
  EXPECT_EQ(static_cast<std::int32_t>(murmur2("abc")), 479470107);
}

TEST(Producer, PutsKeysWhereJavaProducersPutThem) {
  constexpr std::int32_t kPartitions = 7;
  const std::string topic = unique_topic(kPartitions);
  std::vector<OutgoingRecord> records = {{.topic = topic, .key = ""}};
  for (int i = 0; i < 200; ++i) {
    records.push_back({.topic = topic, .key = "key-" + std::to_string(i * i)});
    records.push_back({.topic = topic, .key = std::string(1 + i % 5, static_cast<char>(i))});
  }
  Producer producer({.brokers = Stack::brokers()});
  send_all(producer, records);

  const auto found = read_topic(Stack::brokers(), topic);

  ASSERT_EQ(found.size(), records.size());
  for (const Record& record : found) {
    EXPECT_EQ(record.position.partition, java_partition(record.key.view(), kPartitions))
        << printable(record.key.view());
  }
}

TEST(Producer, SpreadsRecordsWithoutAKey) {
  const std::string topic = unique_topic(4);
  // By default such records stay with one partition for some milliseconds, for fuller batches.
  Producer producer({.brokers = Stack::brokers(), .properties = {{"sticky.partitioning.linger.ms", "0"}}});
  send_all(producer, std::vector<OutgoingRecord>(400, {.topic = topic, .key = nullptr, .payload = "x"}));

  std::set<std::int32_t> partitions;
  for (const Record& record : read_topic(Stack::brokers(), topic)) partitions.insert(record.position.partition);

  EXPECT_THAT(partitions, SizeIs(4));
}

TEST(Producer, ReportsAnUnknownTopicSoonAndSendsOnceItExists) {
  const std::string topic = unique_name("late");
  Producer producer({.brokers = Stack::brokers()});
  const auto start = std::chrono::steady_clock::now();

  const Delivery refused = send_all(producer, {{.topic = topic, .payload = "a"}}).at(0);

  EXPECT_EQ(refused.status, DeliveryStatus::refused);
  EXPECT_THAT(refused.error, HasSubstr("create the topic"));
  EXPECT_LT(std::chrono::steady_clock::now() - start, 9s);

  Admin(Stack::brokers()).create({{.name = topic}});
  EXPECT_TRUE(eventually(10s, [&] {
    return send_all(producer, {{.topic = topic, .payload = "a"}}).at(0).status == DeliveryStatus::acked;
  }));
}

TEST(Producer, RefusesOnlyTheRecordThatIsTooLarge) {
  const std::string topic = unique_topic(1, {{"max.message.bytes", "2000"}});
  Producer producer({.brokers = Stack::brokers(), .linger = 0ms});
  for (int round = 0; round < 3; ++round) {
    const auto reports = send_all(producer, {{.topic = topic, .key = "k", .payload = "a"},
                                             {.topic = topic, .key = "k", .payload = std::string(5'000, 'x')}});
    // They may have shared a batch, which is refused as a whole; the large one alone tells.
    EXPECT_EQ(reports[1].status, DeliveryStatus::refused);
    EXPECT_THAT(reports[1].error, HasSubstr("MSG_SIZE_TOO_LARGE"));
    EXPECT_EQ(send_all(producer, {{.topic = topic, .key = "k", .payload = "b"}}).at(0).status, DeliveryStatus::acked);
  }
}

// Refusals shift the sequence numbers of an idempotent producer while other batches are on their way.
TEST(Producer, KeepsOrderAndLosesNothingAroundRefusals) {
  const std::string topic = unique_topic(1, {{"max.message.bytes", "2000"}});
  Producer producer({.brokers = Stack::brokers(), .linger = 0ms, .properties = {{"batch.num.messages", "1"}}});
  std::vector<OutgoingRecord> records;
  for (int i = 0; i < 300; ++i) {
    const bool large = i % 10 == 5;
    records.push_back({.topic = topic, .key = "k", .payload = large ? std::string(5'000, 'x') : std::to_string(i)});
  }

  const auto reports = send_all(producer, records);

  std::vector<std::string> acked;
  for (std::size_t i = 0; i < reports.size(); ++i) {
    const bool large = i % 10 == 5;
    if (large) {
      EXPECT_NE(reports[i].status, DeliveryStatus::acked) << i;
    } else if (reports[i].status == DeliveryStatus::acked) {
      acked.push_back(records[i].payload.str());
    }
    EXPECT_TRUE(large || reports[i].status != DeliveryStatus::refused) << i << reports[i].error;
  }
  std::vector<std::string> found;
  for (const Record& record : read_topic(Stack::brokers(), topic)) found.push_back(record.payload.str());
  EXPECT_EQ(found, acked);
}

TEST(Producer, TwoSendAtOnce) {
  const std::string topic = unique_topic(3);
  const auto work = [&topic](const std::string& name) {
    Producer producer({.brokers = Stack::brokers()});
    std::vector<OutgoingRecord> records;
    for (int i = 0; i < 2'000; ++i) {
      records.push_back({.topic = topic, .key = name + std::to_string(i % 10), .payload = std::to_string(i)});
    }
    for (const Delivery& report : send_all(producer, records)) EXPECT_EQ(report.status, DeliveryStatus::acked);
  };
  {
    std::jthread a(work, "a");
    std::jthread b(work, "b");
  }

  std::map<std::string, int> last;
  const auto found = read_topic(Stack::brokers(), topic);
  EXPECT_THAT(found, SizeIs(4'000));
  for (const Record& record : found) {
    const int number = std::stoi(record.payload.str());
    const auto [entry, first] = last.try_emplace(record.key.str(), number);
    EXPECT_TRUE(first || entry->second < number) << record.position.str();
    entry->second = number;
  }
}

TEST(Producer, DiscardsWhatIsInFlightAndSendsOn) {
  const std::string topic = unique_topic();
  Producer producer({.brokers = Stack::brokers(), .linger = 0ms});
  for (std::uint64_t i = 0; i < 5'000; ++i) {
    ASSERT_EQ(producer.send({.topic = topic, .payload = "x"}, 1'000'000 + i), Sent::accepted);
  }

  producer.discard();

  for (const Delivery& report : send_all(producer, std::vector<OutgoingRecord>(10, {.topic = topic, .payload = "y"}))) {
    EXPECT_EQ(report.status, DeliveryStatus::acked);  // and send_all() would have choked on an old token
  }
}

}  // namespace
}  // namespace oncemark::kafka
