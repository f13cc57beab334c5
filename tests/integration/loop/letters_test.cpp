// Failed records on their way round: what the topics do to them, and what a topic that takes none does to the others.
#include <atomic>
#include <cstdlib>
#include <map>
#include <mutex>
#include <random>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <oncemark/consume/runner.hpp>
#include <oncemark/dead_letter/foreign.hpp>
#include <oncemark/dead_letter/replay.hpp>
#include <oncemark/dead_letter/router.hpp>
#include <oncemark/inbox/dedup.hpp>
#include <oncemark/kafka/consumer.hpp>
#include <oncemark/message/names.hpp>
#include <oncemark/outbox/relay.hpp>

#include "support/kafka_log.hpp"
#include "support/temp_schema.hpp"
#include "support/topics_by_hand.hpp"
#include "support/unique_topic.hpp"

namespace oncemark {
namespace {

using namespace std::chrono_literals;
using testing::eventually;
using testing::Stack;
using testing::Tables;
using testing::TempSchema;

class Letters : public ::testing::Test {
 protected:
  /// A consumer with its relay that runs while this lives.
  class Running {
   public:
    Running(Letters& test, inbox::Dedup::Effect effect)
        : source_({.brokers = Stack::brokers(), .group = test.group_, .topics = {test.topic_}}),
          once_(test.pool_, {.consumer = "shipping", .effects = Effects::transaction}, std::move(effect)),
          failures_(test.pool_, {.retries = {.delays = {1ms}}, .spring_headers = true}),
          relay_(test.pool_, out_,
                 {.name = "shipping",
                  .poll_interval = 5ms,
                  .max_poll_interval = 20ms,
                  .report_timeout = 2s,
                  .max_attempts = 2,
                  .backoff = {.initial = 100ms, .factor = 1, .cap = 100ms, .jitter = 0}}),
          // Every record may fail here, which is no outage.
          runner_(source_, once_, failures_, {.workers = 4, .commit_interval = 50ms, .breaker = {.keys = 0}}),
          run_([this](const std::stop_token& stop) { runner_.run(stop); }) {}
    ~Running() {
      run_.request_stop();
      run_.join();
    }

   private:
    kafka::Consumer source_;
    inbox::Dedup once_;
    dead_letter::Router failures_;
    kafka::Producer out_{{.brokers = Stack::brokers()}};
    outbox::Relay relay_;
    consume::Runner runner_;
    std::jthread run_;
  };

  std::uint64_t count(const std::string& sql) {
    return pool_.transact([&](mysql::Transaction& tx) { return tx.query_row(sql)->get<std::uint64_t>(0); });
  }
  static Headers with_id(const std::string& id) { return {{std::string(names::kMessageId), id}}; }
  std::string dlq() const { return "dlq." + group_ + "." + topic_; }
  std::string retries() const { return "retry." + group_ + "." + topic_; }

  const std::string topic_ = testing::unique_topic(2, {{"max.message.bytes", "2097152"}});
  const std::string group_ = testing::unique_name("g");
  TempSchema schema_{Tables::ours};
  mysql::Pool pool_{schema_.options()};
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
  Running running(*this, [&](const Message& message, mysql::Transaction&) {
    ++deliveries;
    check(message.id, message.key, message.payload, message.headers);
    if (message.life == 1) throw std::runtime_error("not in this life");
  });
  const auto letters = static_cast<std::uint64_t>(number_of_records);
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
  EXPECT_EQ(replay.run({}, {}).replayed, letters);
  ASSERT_TRUE(eventually(60s + number_of_records * 60ms, [&] {
    return deliveries >= 3 * number_of_records &&
           count("SELECT COUNT(*) FROM consumed_message WHERE state = 'done' AND life = 2") == letters;
  }));

  EXPECT_EQ(dead.size(), letters);
  EXPECT_GE(deliveries, 3 * number_of_records);
  EXPECT_EQ(different, 0);
  EXPECT_EQ(count("SELECT COUNT(*) FROM failed_message"), 0u);
}

TEST_F(Letters, WaitInTheDatabaseWhileTheirTopicIsGone) {
  Running running(*this, [](const Message& message, mysql::Transaction&) {
    if (message.id.starts_with("bad")) throw PermanentError("never");
  });
  testing::send_records(topic_, {{.key = "k", .headers = with_id("bad-1")}});
  ASSERT_TRUE(eventually(30s, [&] { return count("SELECT COUNT(*) FROM outbox_message WHERE status = 'sent'") == 1; }));

  testing::delete_topic(dlq());
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
  const std::string first_failing = "SELECT available_at FROM outbox_message WHERE status = 'failing' LIMIT 1";
  const auto before = pool_.transact([&](mysql::Transaction& tx) { return tx.query_row(first_failing)->get<Time>(0); });
  ASSERT_TRUE(eventually(30s, [&] {  // tried again meanwhile
    return pool_.transact([&](mysql::Transaction& tx) { return tx.query_row(first_failing)->get<Time>(0); }) > before;
  }));
  EXPECT_EQ(count("SELECT COUNT(*) FROM outbox_message WHERE attempts > 0 OR status = 'dead'"), 0u);

  kafka::Admin(Stack::brokers()).create({{.name = dlq(), .partitions = 2}});

  EXPECT_TRUE(
      eventually(60s, [&] { return count("SELECT COUNT(*) FROM outbox_message WHERE status <> 'sent'") == 0; }));
  EXPECT_EQ(testing::read_topic(Stack::brokers(), dlq()).size(), 9u);  // the first went with its topic
}

TEST_F(Letters, ThatNoTopicHasRoomForTravelAsPointersAndArriveWhole) {
  kafka::Admin(Stack::brokers())
      .create({{.name = retries(), .partitions = 2, .config = {{"max.message.bytes", "4000"}}},
               {.name = dlq(), .partitions = 2, .config = {{"max.message.bytes", "4000"}}}});
  const std::string large(10'000, 'p');
  std::mutex mutex;
  std::vector<Message> again;
  Running running(*this, [&](const Message& message, mysql::Transaction&) {
    if (message.attempt > 1) {
      const std::lock_guard lock(mutex);
      again.push_back(message);
    }
    if (message.attempt == 1 || message.id == "bad") throw std::runtime_error("not yet");
  });

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
  EXPECT_EQ(count("SELECT LENGTH(payload) FROM dead_letter WHERE message_id = 'bad'"), large.size());
  const auto dead = testing::read_topic(Stack::brokers(), dlq());
  ASSERT_EQ(dead.size(), 1u);
  EXPECT_TRUE(dead_letter::provenance_of(dead.front()).is_pointer);
  EXPECT_EQ(dead.front().key, Bytes("k"));
}

}  // namespace
}  // namespace oncemark
