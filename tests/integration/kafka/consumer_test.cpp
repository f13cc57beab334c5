#include <oncemark/kafka/consumer.hpp>

#include <memory>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <oncemark/kafka/admin.hpp>
#include <oncemark/kafka/errors.hpp>
#include <oncemark/observe/log.hpp>

#include "integration/kafka/traffic.hpp"
#include "support/kafka_log.hpp"
#include "support/stack.hpp"
#include "support/unique_topic.hpp"

namespace oncemark::kafka {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::ElementsAreArray;
using testing::eventually;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using testing::Stack;
using testing::unique_name;
using testing::unique_topic;
using namespace std::chrono_literals;

class ConsumerTest : public ::testing::Test {
 protected:
  ConsumerOptions options() const {
    return {.brokers = Stack::brokers(),
            .group = group_,
            .topics = {topic_},
            .session_timeout = 6s,
            .start_timeout = 10s,
            .properties = {{"fetch.wait.max.ms", "10"}}};
  }
  void put(const std::vector<std::string>& payloads) const { produce(Stack::brokers(), topic_, payloads); }
  /// Commits for the group without a member of it running.
  void commit_by_hand(std::int64_t offset) const {
    Listener listener;
    auto anywhere = options();
    anywhere.when_out_of_range = StartAt::latest;
    Consumer consumer(anywhere);
    consumer.subscribe({}, listener);
    poll_past(consumer, listener);
    consumer.commit({{topic_, 0, offset}});
    consumer.close();
  }
  static void poll_past(Consumer& consumer, const Listener& listener) {
    EXPECT_TRUE(eventually(30s, [&] {
      (void)consumer.poll(10ms, 100);
      return !listener.has.empty();
    }));
  }

  const std::string topic_ = unique_topic();
  const std::string group_ = unique_name("shipping");
  Listener listener_;
};

TEST_F(ConsumerTest, ReadsFromTheBeginningWithoutACommittedPosition) {
  put({"a", "b"});
  Consumer consumer(options());

  consumer.subscribe({}, listener_);

  EXPECT_THAT(read(consumer, 2), ElementsAre("a", "b"));
  EXPECT_THAT(listener_.has, ElementsAre(TopicPartition{topic_, 0}));
}

TEST_F(ConsumerTest, GoesOnFromTheCommittedPosition) {
  put({"a", "b", "c"});
  Consumer first(options());
  first.subscribe({}, listener_);
  EXPECT_THAT(read(first, 3), SizeIs(3));
  first.commit({{topic_, 0, 2}});
  first.close();
  EXPECT_THAT(listener_.has, IsEmpty());
  EXPECT_FALSE(listener_.lost);

  Consumer second(options());
  second.subscribe({}, listener_);

  EXPECT_THAT(read(second, 1), ElementsAre("c"));
}

TEST_F(ConsumerTest, LetsTheListenerCommitWhileItCloses) {
  put({"a", "b"});
  Consumer consumer(options());
  listener_.on_revoked = [&] { consumer.commit({{topic_, 0, 1}}); };
  consumer.subscribe({}, listener_);
  EXPECT_THAT(read(consumer, 2), SizeIs(2));

  consumer.close();

  EXPECT_THAT(Admin(Stack::brokers()).committed(group_, {{topic_, 0}}), ElementsAre(Position{topic_, 0, 1}));
}

TEST_F(ConsumerTest, LeavesItsGroupWhenItIsDestroyed) {
  put({"a"});
  {
    Consumer first(options());
    first.subscribe({}, listener_);
    EXPECT_THAT(read(first, 1), SizeIs(1));
  }
  const auto start = std::chrono::steady_clock::now();
  Listener next;
  Consumer second(options());
  second.subscribe({}, next);

  EXPECT_THAT(read(second, 1), ElementsAre("a"));

  EXPECT_LT(std::chrono::steady_clock::now() - start, 5s);  // and not the session time-out
  EXPECT_EQ(listener_.times_revoked, 0);                    // it may have been gone
}

TEST_F(ConsumerTest, HandsOverEveryDistinctionOfBytes) {
  const std::string all = [] {
    std::string bytes;
    for (int i = 0; i < 256; ++i) bytes.push_back(static_cast<char>(i));
    return bytes;
  }();
  const std::vector<OutgoingRecord> sent = {
      {.topic = topic_, .key = nullptr, .payload = nullptr, .headers = {}},
      {.topic = topic_, .key = "", .payload = "", .headers = {{"", ""}, {"", nullptr}}},
      {.topic = topic_, .key = nullptr, .payload = "", .headers = {{"b", "1"}, {"a", all}, {"b", nullptr}}},
      {.topic = topic_, .key = all, .payload = all, .headers = {{"\xff\xfe", "x"}}},
  };
  Producer producer({.brokers = Stack::brokers()});
  send_all(producer, sent);
  Consumer consumer(options());
  consumer.subscribe({}, listener_);

  std::vector<Record> got;
  EXPECT_TRUE(eventually(30s, [&] {
    for (Record& record : consumer.poll(10ms, 10)) got.push_back(std::move(record));
    return got.size() >= sent.size();
  }));

  const auto oracle = testing::read_topic(Stack::brokers(), topic_);
  ASSERT_EQ(got.size(), sent.size());
  ASSERT_EQ(oracle.size(), sent.size());
  for (std::size_t i = 0; i < sent.size(); ++i) {
    EXPECT_EQ(got[i].position, (Position{topic_, 0, static_cast<std::int64_t>(i)}));
    EXPECT_EQ(got[i].key, sent[i].key) << i;
    EXPECT_EQ(got[i].payload, sent[i].payload) << i;
    EXPECT_EQ(got[i].headers, sent[i].headers) << i;
    EXPECT_EQ(oracle[i].key, sent[i].key) << i;
    EXPECT_EQ(oracle[i].payload, sent[i].payload) << i;
    EXPECT_EQ(oracle[i].headers, sent[i].headers) << i;
    EXPECT_EQ(got[i].timestamp, oracle[i].timestamp);
    EXPECT_LT(std::chrono::abs(std::chrono::system_clock::now() - got[i].timestamp), 1min);
  }
}

TEST_F(ConsumerTest, DeliversARecordWhoseHeadersAreTooManyWithoutThem) {
  Headers many;
  for (int i = 0; i < 100'001; ++i) many.append("h", nullptr);
  Producer producer({.brokers = Stack::brokers()});
  send_all(producer, {{.topic = topic_, .payload = "a", .headers = many}});
  Consumer consumer(options());
  consumer.subscribe({}, listener_);

  std::vector<Record> got;
  EXPECT_TRUE(eventually(30s, [&] {
    got = consumer.poll(10ms, 10);
    return !got.empty();
  }));

  EXPECT_EQ(got.at(0).payload, Bytes("a"));
  EXPECT_TRUE(got.at(0).headers.empty());
}

TEST_F(ConsumerTest, TakesAtMostWhatIsAskedFor) {
  put({"a", "b", "c", "d", "e"});
  Consumer consumer(options());
  consumer.subscribe({}, listener_);

  std::size_t total = 0;
  EXPECT_TRUE(eventually(30s, [&] {
    const std::size_t now = consumer.poll(10ms, 2).size();
    EXPECT_LE(now, 2u);
    return (total += now) == 5;
  }));
}

TEST_F(ConsumerTest, SkipsAndRepeatsNothingWhileItsReaderHasNoRoom) {
  put({"a", "b", "c", "d"});
  Consumer consumer(options());
  consumer.subscribe({}, listener_);
  std::vector<std::string> all;
  EXPECT_TRUE(eventually(30s, [&] {
    for (const Record& record : consumer.poll(10ms, 2)) all.push_back(record.payload.str());
    return !all.empty();  // what follows is fetched already
  }));

  EXPECT_THAT(consumer.poll(100ms, 0), IsEmpty());
  EXPECT_THAT(consumer.poll(0ms, 0), IsEmpty());

  for (const std::string& payload : read(consumer, 4 - all.size())) all.push_back(payload);
  EXPECT_THAT(all, ElementsAre("a", "b", "c", "d"));
  EXPECT_THAT(consumer.poll(200ms, 10), IsEmpty());
}

TEST_F(ConsumerTest, KeepsItsPlaceInTheGroupWhileItsReaderHasNoRoom) {
  auto hasty = options();
  hasty.session_timeout = 1s;
  hasty.max_poll_interval = 1s;
  put({"a"});
  Consumer consumer(hasty);
  consumer.subscribe({}, listener_);
  EXPECT_TRUE(eventually(30s, [&] { return (void)consumer.poll(10ms, 0), !listener_.has.empty(); }));

  const auto end = std::chrono::steady_clock::now() + 2500ms;
  while (std::chrono::steady_clock::now() < end) EXPECT_THAT(consumer.poll(100ms, 0), IsEmpty());

  EXPECT_EQ(listener_.times_assigned, 1);
  EXPECT_THAT(read(consumer, 1), ElementsAre("a"));
}

TEST_F(ConsumerTest, ToleratesCommittingWhatItDoesNotHave) {
  Consumer consumer(options());
  consumer.subscribe({}, listener_);

  EXPECT_NO_THROW(consumer.commit({{"nowhere", 7, 1}}));
}

TEST_F(ConsumerTest, RethrowsWhatTheListenerThrows) {
  Consumer consumer(options());
  listener_.on_assigned = [] { throw std::range_error("assigned"); };
  listener_.on_revoked = [] { throw std::logic_error("revoked"); };
  consumer.subscribe({}, listener_);

  EXPECT_EQ(poll_until_it_throws<std::range_error>(consumer).what(), std::string("assigned"));
  EXPECT_THROW(consumer.close(), std::logic_error);
}

TEST_F(ConsumerTest, LatestStartsAtTheEndOnceAndNeverSkipsLater) {
  put({"old", "older"});
  auto from_now = options();
  from_now.when_no_offset = StartAt::latest;
  {
    Consumer first(from_now);
    first.subscribe({}, listener_);
    poll_until(first, [&] { return !listener_.has.empty(); });
  }
  EXPECT_THAT(Admin(Stack::brokers()).committed(group_, {{topic_, 0}}), ElementsAre(Position{topic_, 0, 2}));
  put({"new"});  // while nobody reads

  Consumer second(from_now);
  second.subscribe({}, listener_);

  EXPECT_THAT(read(second, 1), ElementsAre("new"));
}

TEST_F(ConsumerTest, StopsWithoutACommittedPositionWhenToldTo) {
  auto careful = options();
  careful.when_no_offset = StartAt::stop;
  Consumer consumer(careful);
  consumer.subscribe({}, listener_);

  for (int i = 0; i < 2; ++i) {  // and goes on saying so
    const auto error = poll_until_it_throws<KafkaError>(consumer);
    EXPECT_EQ(error.kind(), ErrorKind::permanent);
    EXPECT_THAT(error.what(), AllOf(HasSubstr(group_ + " has never committed a position for " + topic_ + "/0"),
                                    HasSubstr("kafka-consumer-groups.sh")));
  }
  EXPECT_THAT(listener_.has, IsEmpty());
}

TEST_F(ConsumerTest, StopsAtACommittedPositionBeyondTheLog) {
  put({"a", "b"});
  commit_by_hand(999);
  Consumer consumer(options());
  consumer.subscribe({}, listener_);

  const auto error = poll_until_it_throws<KafkaError>(consumer);

  EXPECT_EQ(error.kind(), ErrorKind::permanent);
  EXPECT_EQ(error.name(), "OFFSET_OUT_OF_RANGE");
  EXPECT_THAT(error.what(), AllOf(HasSubstr(group_), HasSubstr(topic_ + "/0@999"), HasSubstr("offsets 0 to 2"),
                                  HasSubstr("--topic " + topic_ + ":0 --reset-offsets --to-offset 0 --execute"),
                                  HasSubstr("when_out_of_range")));
  EXPECT_THAT(listener_.has, IsEmpty());
}

TEST_F(ConsumerTest, StartsElsewhereWhenThePositionIsOutOfTheLogAndItMay) {
  put({"a", "b"});
  commit_by_hand(999);
  auto earliest = options();
  earliest.when_out_of_range = StartAt::earliest;
  {
    Consumer consumer(earliest);
    consumer.subscribe({}, listener_);
    EXPECT_THAT(read(consumer, 2), ElementsAre("a", "b"));
  }
  EXPECT_THAT(Admin(Stack::brokers()).committed(group_, {{topic_, 0}}), ElementsAre(Position{topic_, 0, 0}));
}

TEST_F(ConsumerTest, TakesPartitionsOverFromAMemberThatCommittedWhileItLetGo) {
  const std::string wide = unique_topic(4);
  auto wide_options = options();
  wide_options.topics = {wide};
  Consumer first(wide_options);
  Consumer second(wide_options);
  Listener second_listener;
  first.subscribe({}, listener_);
  poll_until(first, [&] { return listener_.has.size() == 4; });
  Producer producer({.brokers = Stack::brokers()});
  std::vector<OutgoingRecord> records;
  for (int i = 0; i < 40; ++i) records.push_back({.topic = wide, .key = std::to_string(i), .payload = "x"});
  send_all(producer, records);
  std::map<TopicPartition, std::int64_t> next;
  std::size_t count = 0;
  EXPECT_TRUE(eventually(30s, [&] {
    for (const Record& record : first.poll(10ms, 100)) {
      next[record.position.topic_partition()] = record.position.offset + 1;
      ++count;
    }
    return count == 40;
  }));
  listener_.on_revoked = [&] {
    std::vector<Position> positions;
    for (const auto& [partition, offset] : next) positions.push_back({partition.topic, partition.partition, offset});
    first.commit(positions);
  };

  second.subscribe({}, second_listener);
  EXPECT_TRUE(eventually(30s, [&] {
    EXPECT_THAT(first.poll(10ms, 10), IsEmpty());
    EXPECT_THAT(second.poll(10ms, 10), IsEmpty());
    return listener_.has.size() == 2 && second_listener.has.size() == 2;
  }));

  EXPECT_FALSE(listener_.lost);
  listener_.on_revoked = nullptr;
  second.close();
  poll_until(first, [&] { return listener_.has.size() == 4; });
}

TEST_F(ConsumerTest, ALostMemberIsToldSoAndJoinsAgain) {
  auto hasty = options();
  hasty.session_timeout = 1s;
  hasty.max_poll_interval = 1s;
  Consumer consumer(hasty);
  consumer.subscribe({}, listener_);
  poll_until(consumer, [&] { return !listener_.has.empty(); });

  std::this_thread::sleep_for(2'500ms);  // what it is about

  poll_until(consumer, [&] { return listener_.times_revoked == 1 && !listener_.has.empty(); });
  EXPECT_TRUE(listener_.lost);
  EXPECT_NO_THROW(consumer.commit({{topic_, 0, 0}}));
}

TEST_F(ConsumerTest, AStaticMemberKeepsItsPartitionsOverARestart) {
  const std::string wide = unique_topic(2);
  auto one = options();
  one.topics = {wide};
  one.instance_id = "one";
  auto two = one;
  two.instance_id = "two";
  Listener listener_one;
  Listener listener_two;
  Consumer stays(two);
  auto restarts = std::make_unique<Consumer>(one);
  stays.subscribe({}, listener_two);
  restarts->subscribe({}, listener_one);
  EXPECT_TRUE(eventually(30s, [&] {
    (void)stays.poll(10ms, 1);
    (void)restarts->poll(10ms, 1);
    return listener_one.has.size() == 1 && listener_two.has.size() == 1;
  }));
  const auto had = listener_one.has;
  const int revoked = listener_two.times_revoked;

  restarts->close();
  restarts = std::make_unique<Consumer>(one);
  restarts->subscribe({}, listener_one);
  EXPECT_TRUE(eventually(30s, [&] {
    (void)stays.poll(10ms, 1);
    (void)restarts->poll(10ms, 1);
    return listener_one.has.size() == 1;
  }));

  EXPECT_EQ(listener_one.has, had);
  EXPECT_EQ(listener_two.times_revoked, revoked);
}

TEST_F(ConsumerTest, AFencedInstanceStopsForGood) {
  auto twin = options();
  twin.instance_id = "twin";
  Consumer first(twin);
  first.subscribe({}, listener_);
  poll_until(first, [&] { return !listener_.has.empty(); });
  Listener other;
  Consumer second(twin);
  second.subscribe({}, other);
  std::jthread polls([&](std::stop_token stop) {
    while (!stop.stop_requested()) (void)second.poll(10ms, 1);
  });

  const auto error = poll_until_it_throws<KafkaError>(first);

  EXPECT_EQ(error.kind(), ErrorKind::misuse);
  EXPECT_TRUE(error.is_fatal());
  EXPECT_EQ(error.name(), "FENCED_INSTANCE_ID");
  EXPECT_THAT(error.what(), HasSubstr("instance_id"));
  first.close();
  EXPECT_THAT(listener_.has, IsEmpty());
  EXPECT_TRUE(listener_.lost);
}

TEST_F(ConsumerTest, TakesAPositionAmongUncommittedRecordsForWhatItIs) {
  char text[512];
  rd_kafka_conf_t* conf = rd_kafka_conf_new();
  rd_kafka_conf_set(conf, "bootstrap.servers", Stack::brokers().c_str(), text, sizeof text);
  rd_kafka_conf_set(conf, "transactional.id", topic_.c_str(), text, sizeof text);
  const testing::detail::Owned<rd_kafka_t> transactional(rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof text));
  ASSERT_EQ(rd_kafka_init_transactions(transactional.get(), 30'000), nullptr);
  ASSERT_EQ(rd_kafka_begin_transaction(transactional.get()), nullptr);
  rd_kafka_producev(transactional.get(), RD_KAFKA_V_TOPIC(topic_.c_str()), RD_KAFKA_V_KEY("k", 1), RD_KAFKA_V_END);
  ASSERT_EQ(rd_kafka_flush(transactional.get(), 10'000), RD_KAFKA_RESP_ERR_NO_ERROR);
  commit_by_hand(1);  // as a group does that reads uncommitted records
  Consumer consumer(options());
  consumer.subscribe({}, listener_);

  poll_until(consumer, [&] { return !listener_.has.empty(); });

  ASSERT_EQ(rd_kafka_commit_transaction(transactional.get(), 30'000), nullptr);
  put({"b"});
  EXPECT_THAT(read(consumer, 1), ElementsAre("b"));
}

}  // namespace
}  // namespace oncemark::kafka
