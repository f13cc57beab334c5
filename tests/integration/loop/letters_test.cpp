// Failed records on their way round: what the topics do to them, and what a topic that takes none does to the others.
#include <atomic>
#include <cstdlib>
#include <map>
#include <mutex>
#include <random>
#include <set>

#include <gmock/gmock.h>

#include <oncemark/dead_letter/foreign.hpp>
#include <oncemark/dead_letter/replay.hpp>

#include "integration/loop/consumer_fixture.hpp"
#include "support/kafka_log.hpp"
#include "support/kafka_quota.hpp"

namespace oncemark {
namespace {

class Letters : public ConsumerTest {
 protected:
  Letters() : ConsumerTest(2, {{"max.message.bytes", "2097152"}}) {}

  static Parts parts(inbox::Dedup::Effect effect) {
    return {.effect = std::move(effect),
            .failures = {.retries = {.delays = {1ms}}, .spring_headers = true},
            .relay = {.name = "shipping",
                      .poll_interval = 5ms,
                      .max_poll_interval = 20ms,
                      .report_timeout = 2s,
                      .max_attempts = 2,
                      .backoff = {.initial = 100ms, .factor = 1, .cap = 100ms, .jitter = 0}},
            // Every record may fail here, which is no outage.
            .runner = {.workers = 4, .commit_interval = 50ms, .breaker = {.keys = 0}}};
  }
};

Headers foreign(Headers headers) {
  headers.remove(names::kMessageId);
  return headers;
}

std::string random_bytes(std::mt19937& random, std::size_t size) {
  std::string bytes(size, '\0');
  for (char& c : bytes) c = static_cast<char>(random());
  return bytes;
}

Bytes random_value(std::mt19937& random, std::size_t most) {
  switch (random() % 5) {
    case 0:
      return nullptr;
    case 1:
      return "";
    default:
      return random_bytes(random, random() % most);
  }
}

/// Any record: binary keys, null and empty payloads, repeated headers, headers of other families, and some of 1 MiB.
OutgoingRecord random_record(std::mt19937& random, int number) {
  static const std::vector<std::string> kNames{"a",         "twice", "traceparent", "x-\xff", "kafka_original-topic",
                                               "om-unknown"};
  OutgoingRecord record{.key = random_value(random, 60), .payload = random_value(random, 2'000)};
  record.headers.append(std::string(names::kMessageId), "m-" + std::to_string(number));
  for (auto left = random() % 6; left > 0; --left) {
    record.headers.append(kNames[random() % kNames.size()], random_value(random, 100));
  }
  if (number % 100 == 7) record.payload = random_bytes(random, 1 << 20);
  return record;
}

// 200 records; ONCEMARK_TEST_RECORDS says how many else.
TEST_F(Letters, KeepEveryByteThroughRetryDeadLettersAndReplay) {
  const char* wanted = std::getenv("ONCEMARK_TEST_RECORDS");
  const int number_of_records = wanted != nullptr ? std::atoi(wanted) : 200;
  std::mt19937 random(11);
  std::map<std::string, OutgoingRecord> originals;
  std::vector<OutgoingRecord> records;
  for (int i = 0; i < number_of_records; ++i) {
    records.push_back(random_record(random, i));
    originals["m-" + std::to_string(i)] = records.back();
  }
  testing::send_records(topic_, records);
  std::atomic<int> deliveries{0};
  std::atomic<int> different{0};

  const auto check = [&](const std::string& id, const Bytes& key, const Bytes& payload, const Headers& headers) {
    const OutgoingRecord& original = originals.at(id);
    if (key == original.key && payload == original.payload && foreign(headers) == foreign(original.headers)) return;
    if (different++ == 0) {
      ADD_FAILURE() << id << ": " << encode_headers(headers) << "\nwas\n" << encode_headers(original.headers);
    }
  };
  Running running(*this, parts([&](const Message& message, mysql::Transaction&) {
    ++deliveries;
    check(message.id, message.key, message.payload, message.headers);
    if (message.life == 1) throw std::runtime_error("not in this life");
  }));
  const auto letters = static_cast<std::int64_t>(number_of_records);
  // What is cheap to ask comes first: the database has enough to do.
  ASSERT_TRUE(eventually(60s + number_of_records * 60ms, [&] {
    return deliveries >= 2 * number_of_records &&
           count(
               "SELECT COUNT(*) FROM outbox_message WHERE relay = 'shipping' AND status IN ('waiting', 'pending', "
               "'failing')") == 0 &&
           count("SELECT COUNT(*) FROM outbox_message WHERE purpose LIKE 'dlq:%' AND status = 'sent'") == letters;
  }));
  const auto dead = testing::read_topic(Stack::brokers(), dlq());
  for (const Record& letter : dead) {
    EXPECT_EQ(dead_letter::provenance_of(letter).family, dead_letter::Family::oncemark);
    check(std::string(letter.headers.text(names::kMessageId).value()), letter.key, letter.payload,
          dead_letter::headers_before(letter.headers, dead_letter::Family::oncemark));
  }
  dead_letter::Replay replay(pool_);
  (void)replay.start({.selection = {.consumer = "shipping"}});
  EXPECT_EQ(replay.run({}, {}).replayed, static_cast<std::uint64_t>(letters));
  ASSERT_TRUE(eventually(60s + number_of_records * 60ms, [&] {
    return deliveries >= 3 * number_of_records &&
           count("SELECT COUNT(*) FROM consumed_message WHERE state = 'done' AND life = 2") == letters;
  }));

  EXPECT_EQ(dead.size(), static_cast<std::size_t>(letters));
  EXPECT_GE(deliveries, 3 * number_of_records);
  EXPECT_EQ(different, 0);
  EXPECT_EQ(count("SELECT COUNT(*) FROM failed_message"), 0);
}

/// What can be wrong with a dead-letter topic, and how it is repaired.
struct Trouble {
  const char* name;
  void (*begin)(const std::string& topic);
  void (*end)(const std::string& topic);
  std::size_t letters_lost;  // of the one that was there before
};
const Trouble kTroubles[] = {
    {"Gone", testing::delete_topic,
     [](const std::string& topic) { kafka::Admin(Stack::brokers()).create({{.name = topic, .partitions = 2}}); }, 1},
    {"Forbidden", testing::deny_writes, testing::allow_writes, 0},
    // Too small for a pointer, too.
    {"TooSmall", [](const std::string& topic) { testing::set_topic_config(topic, "max.message.bytes", "50"); },
     [](const std::string& topic) { testing::set_topic_config(topic, "max.message.bytes", "1048588"); }, 0},
};

class UnwritableTopic : public Letters, public ::testing::WithParamInterface<Trouble> {};

TEST_P(UnwritableTopic, KeepsItsLettersWaitingInTheDatabaseAndNobodyElse) {
  Running running(*this, parts([](const Message& message, mysql::Transaction&) {
    if (message.id.starts_with("bad")) throw PermanentError("never");
  }));
  testing::send_records(topic_, {{.key = "k", .headers = with_id("bad-1")}});
  ASSERT_TRUE(eventually(30s, [&] { return count("SELECT COUNT(*) FROM outbox_message WHERE status = 'sent'") == 1; }));

  GetParam().begin(dlq());
  std::vector<OutgoingRecord> records;
  for (int i = 2; i <= 10; ++i) {
    records.push_back({.key = "k", .headers = with_id("bad-" + std::to_string(i))});
    records.push_back({.key = "k", .headers = with_id("good-" + std::to_string(i))});
  }
  testing::send_records(topic_, records);

  EXPECT_TRUE(
      eventually(30s, [&] { return count("SELECT COUNT(*) FROM consumed_message WHERE state = 'done'") == 9; }));
  EXPECT_TRUE(eventually(30s, [&] { return count("SELECT COUNT(*) FROM dead_letter") == 10; }));
  ASSERT_TRUE(
      eventually(30s, [&] { return count("SELECT COUNT(*) FROM outbox_message WHERE status = 'failing'") > 0; }));
  const std::string first_failing =
      "SELECT CAST(MIN(available_at) AS CHAR) FROM outbox_message WHERE status = 'failing'";
  const auto before = text(first_failing);
  ASSERT_TRUE(eventually(30s, [&] { return text(first_failing) > before; })) << "it was not tried again";
  EXPECT_EQ(count("SELECT COUNT(*) FROM outbox_message WHERE attempts > 0 OR status = 'dead'"), 0);

  GetParam().end(dlq());

  EXPECT_TRUE(
      eventually(60s, [&] { return count("SELECT COUNT(*) FROM outbox_message WHERE status <> 'sent'") == 0; }));
  const auto letters = testing::read_topic(Stack::brokers(), dlq());
  EXPECT_EQ(letters.size(), 10 - GetParam().letters_lost);
  for (const Record& letter : letters) EXPECT_FALSE(dead_letter::provenance_of(letter).is_pointer);
}

INSTANTIATE_TEST_SUITE_P(Letters, UnwritableTopic, ::testing::ValuesIn(kTroubles),
                         [](const auto& trouble) { return std::string(trouble.param.name); });

TEST_F(Letters, OfATopicUnderAQuotaComeLateAndHoldUpNobody) {
  const std::string client = testing::unique_name("relay");
  testing::set_producer_quota(client, 2'000);
  auto with_client = parts([](const Message& message, mysql::Transaction&) {
    if (message.id.starts_with("bad")) throw PermanentError("never");
  });
  with_client.producer = {{"client.id", client}};
  Running running(*this, std::move(with_client));
  std::vector<OutgoingRecord> records;
  for (int i = 0; i < 100; ++i) {
    records.push_back({.payload = std::string(1'000, 'p'), .headers = with_id("bad-" + std::to_string(i))});
    records.push_back({.headers = with_id("good-" + std::to_string(i))});
  }
  testing::send_records(topic_, records);

  EXPECT_TRUE(eventually(30s, [&] {
    return count("SELECT COUNT(*) FROM consumed_message WHERE state = 'done'") == 100 &&
           count("SELECT COUNT(*) FROM dead_letter") == 100;
  }));
  EXPECT_GT(count("SELECT COUNT(*) FROM outbox_message WHERE status <> 'sent'"), 0) << "there was no quota";
  testing::set_producer_quota(client, std::nullopt);

  EXPECT_TRUE(
      eventually(60s, [&] { return count("SELECT COUNT(*) FROM outbox_message WHERE status <> 'sent'") == 0; }));
  EXPECT_EQ(count("SELECT COUNT(*) FROM outbox_message WHERE attempts > 0"), 0);
  std::set<std::string> ids;
  for (const Record& letter : testing::read_topic(Stack::brokers(), dlq())) {
    ids.emplace(letter.headers.text(names::kMessageId).value());
  }
  EXPECT_EQ(ids.size(), 100u);
}

TEST_F(Letters, ThatNoTopicHasRoomForTravelAsPointersAndArriveWhole) {
  kafka::Admin(Stack::brokers())
      .create({{.name = retries(), .partitions = 2, .config = {{"max.message.bytes", "4000"}}},
               {.name = dlq(), .partitions = 2, .config = {{"max.message.bytes", "4000"}}}});
  const std::string large(10'000, 'p');
  std::mutex mutex;
  std::vector<Message> again;
  Running running(*this, parts([&](const Message& message, mysql::Transaction&) {
    if (message.attempt > 1) {
      const std::lock_guard lock(mutex);
      again.push_back(message);
    }
    if (message.attempt == 1 || message.id == "bad") throw std::runtime_error("not yet");
  }));

  Headers headers = with_id("flaky");
  headers.append("foreign", "f");
  testing::send_records(topic_, {{.key = "k", .payload = large, .headers = headers},
                                 {.key = "k", .payload = large, .headers = with_id("bad")}});

  ASSERT_TRUE(eventually(30s, [&] {
    return count("SELECT COUNT(*) FROM outbox_message WHERE purpose LIKE 'dlq:%' AND status = 'sent'") == 1 &&
           count("SELECT COUNT(*) FROM consumed_message WHERE state = 'done'") == 1;
  }));
  const std::lock_guard lock(mutex);
  ASSERT_GE(again.size(), 2u);
  for (const Message& message : again) EXPECT_EQ(message.payload, Bytes(large));
  EXPECT_EQ(again.front().headers.text("foreign"), "f");
  EXPECT_EQ(count("SELECT LENGTH(payload) FROM dead_letter WHERE message_id = 'bad'"),
            static_cast<std::int64_t>(large.size()));
  const auto dead = testing::read_topic(Stack::brokers(), dlq());
  ASSERT_EQ(dead.size(), 1u);
  EXPECT_TRUE(dead_letter::provenance_of(dead.front()).is_pointer);
  EXPECT_EQ(dead.front().key, Bytes("k"));
}

}  // namespace
}  // namespace oncemark
