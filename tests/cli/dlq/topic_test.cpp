// dlq-replay on dead-letter topics that others wrote.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "support/kafka_log.hpp"
#include "support/process.hpp"
#include "support/tool_environment.hpp"
#include "support/topics_by_hand.hpp"
#include "support/unique_topic.hpp"

namespace oncemark::testing {
namespace {

using nlohmann::json;
using ::testing::AllOf;
using ::testing::HasSubstr;

class TopicTest : public ::testing::Test {
 protected:
  Ended dlq(std::vector<std::string> flags, const std::map<std::string, std::string>& environment = {}) {
    flags.insert(flags.begin(), program("dlq-replay"));
    return run(std::move(flags), with(environment_of(schema_), environment));
  }
  Ended replay(std::vector<std::string> flags, const std::map<std::string, std::string>& environment = {}) {
    flags.insert(flags.begin(), {"run", "--from-topic", dlt_});
    return dlq(std::move(flags), environment);
  }
  /// As Connect writes them.
  OutgoingRecord letter(int number, const std::string& origin) const {
    return {.key = "k" + std::to_string(number),
            .payload = std::string("\0\xff", 2) + std::to_string(number),
            .headers = {{"trace", "t"},
                        {"__connect.errors.topic", origin},
                        {"__connect.errors.partition", "0"},
                        {"__connect.errors.offset", std::to_string(number)},
                        {"__connect.errors.exception.class.name", "java.lang.IllegalStateException"},
                        {"__connect.errors.exception.message", "no"},
                        {"trace", nullptr}}};
  }
  std::vector<Record> arrived() const { return read_topic(Stack::brokers(), orders_); }

  const std::string orders_ = unique_topic(1);
  const std::string dlt_ = unique_topic(2);
  TempSchema schema_{Tables::ours};
};

TEST_F(TopicTest, ShowsWhatOthersWrote) {
  send_records(dlt_, {letter(4, orders_)});

  const Ended listed = dlq({"list", "--from-topic", dlt_, "--json"});

  ASSERT_EQ(listed.code, 0) << listed.err;
  const json record = json::parse(listed.out);
  EXPECT_EQ(record["family"], "connect");
  EXPECT_EQ(record["origin"]["topic"], orders_);
  EXPECT_EQ(record["origin"]["offset"], 4);
  EXPECT_EQ(record["error"]["class"], "java.lang.IllegalStateException");
  const std::string reference = record["partition"].dump() + "/" + record["offset"].dump();
  EXPECT_THAT(dlq({"show", reference, "--from-topic", dlt_}).out,
              AllOf(HasSubstr("connect"), HasSubstr(orders_ + "/0@4"), HasSubstr("trace: null")));
  EXPECT_EQ(dlq({"show", reference, "--from-topic", dlt_, "--raw"}).out, std::string("\0\xff", 2) + "4");
  EXPECT_EQ(dlq({"show", "0/99", "--from-topic", dlt_}).code, 2);
}

TEST_F(TopicTest, ReplaysToOriginsThatAreAllowedOnly) {
  send_records(dlt_, {letter(1, orders_), letter(2, "elsewhere"), letter(3, orders_)});

  EXPECT_EQ(replay({"--allow", orders_}).code, 6);
  EXPECT_EQ(replay({"--allow", orders_, "--dry-run"}).code, 0);
  EXPECT_TRUE(arrived().empty());
  const Ended ended = replay({"--allow", orders_, "--confirm", dlt_, "--reason", "fixed", "--json"});

  EXPECT_EQ(ended.code, 3) << ended.err;  // one stays
  EXPECT_THAT(ended.out, AllOf(HasSubstr("\"replayed\":2"), HasSubstr("\"origin not allowed\":1")));
  const auto records = arrived();
  ASSERT_EQ(records.size(), 2u);
  for (const Record& record : records) {
    EXPECT_EQ(record.payload, Bytes(std::string("\0\xff", 2) + record.key.str().substr(1)));
    EXPECT_EQ(record.headers,
              (Headers{{"trace", "t"}, {"trace", nullptr}, {"om-replay-id", "1"}, {"om-replays", "1"}}));
  }
  EXPECT_THAT(dlq({"jobs"}).out, HasSubstr("topic " + dlt_));
}

TEST_F(TopicTest, GoesOnAfterACrashAndLosesNothing) {
  std::vector<OutgoingRecord> letters;
  for (int i = 0; i < 700; ++i) letters.push_back(letter(i, orders_));
  send_records(dlt_, letters);

  const Ended killed =
      replay({"--to", orders_, "--confirm", dlt_}, {{"ONCEMARK_FAULT", "topic_replay.after_ack:kill@2"}});
  EXPECT_EQ(killed.code, 137);
  const Ended killed_again = dlq({"run", "--resume", "1"}, {{"ONCEMARK_FAULT", "topic_replay.after_advance:kill@1"}});
  EXPECT_EQ(killed_again.code, 137);
  send_records(dlt_, {letter(9'999, orders_)});  // after the extent was frozen
  const Ended resumed = dlq({"run", "--resume", "1"});

  EXPECT_EQ(resumed.code, 0) << resumed.err;
  std::set<std::string> keys;
  for (const Record& record : arrived()) keys.insert(record.key.str());
  EXPECT_EQ(keys.size(), 700u);
  EXPECT_FALSE(keys.contains("k9999"));
  EXPECT_EQ(dlq({"run", "--resume", "1"}).code, 0);
}

TEST_F(TopicTest, FollowsAPointerToItsRecord) {
  send_records(orders_, {{.key = "o-1", .payload = "the order", .headers = {{"h", "1"}}}});
  const Headers pointer{{"__dlq.errors.topic", orders_}, {"__dlq.errors.partition", "0"}, {"__dlq.errors.offset", "0"}};
  Headers gone = pointer;
  gone.set("__dlq.errors.offset", "77");
  const std::string target = unique_topic(1);
  send_records(dlt_, {{.headers = pointer}, {.headers = gone}});

  const Ended ended = replay({"--to", target, "--confirm", dlt_});

  EXPECT_EQ(ended.code, 3) << ended.err;
  const auto records = read_topic(Stack::brokers(), target);
  ASSERT_EQ(records.size(), 1u);
  EXPECT_EQ(records.front().payload, Bytes("the order"));
  EXPECT_EQ(records.front().headers.text("h"), "1");
}

TEST_F(TopicTest, LeavesWhatWasReplayedTooOftenAndOurOwnLetters) {
  OutgoingRecord looping = letter(1, orders_);
  looping.headers.append("om-replays", "3");
  OutgoingRecord ours{.key = "k", .payload = "p", .headers = {{"om-origin-topic", orders_}, {"om-message-id", "o-1"}}};
  send_records(dlt_, {looping, ours});

  const Ended ended = replay({"--allow", orders_, "--confirm", dlt_});

  EXPECT_EQ(ended.code, 3);
  EXPECT_THAT(ended.out, AllOf(HasSubstr("replayed too often"), HasSubstr("a letter of oncemark")));
  EXPECT_TRUE(arrived().empty());
}

}  // namespace
}  // namespace oncemark::testing
