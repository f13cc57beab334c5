#include <oncemark/kafka/admin.hpp>

#include <algorithm>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <oncemark/kafka/errors.hpp>

#include "integration/kafka/traffic.hpp"
#include "support/stack.hpp"
#include "support/unique_topic.hpp"

namespace oncemark::kafka {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::Stack;
using testing::unique_name;
using testing::unique_topic;

template <typename Call>
KafkaError error_of(Call call) {
  try {
    call();
  } catch (const KafkaError& error) {
    return error;
  }
  throw std::logic_error("nothing was thrown");
}

class AdminTest : public ::testing::Test {
 protected:
  Admin admin_{Stack::brokers()};
};

TEST_F(AdminTest, CreatesTopicsOnceAndFindsThem) {
  const std::string a = unique_name("a");
  const std::string b = unique_name("b");

  admin_.create({{.name = a, .partitions = 3}, {.name = b, .config = {{"cleanup.policy", "compact"}}}});
  admin_.create({{.name = a, .partitions = 5}});  // exists: left as it is

  ASSERT_TRUE(admin_.describe(a));
  EXPECT_EQ(admin_.describe(a)->partitions, 3);
  const auto all = admin_.list();
  EXPECT_EQ(std::count_if(all.begin(), all.end(), [&](const TopicInfo& t) { return t.name == a || t.name == b; }), 2);
}

TEST_F(AdminTest, LooksWithoutCreating) {
  const std::string name = unique_name("nowhere");

  for (int i = 0; i < 3; ++i) EXPECT_FALSE(admin_.describe(name));
}

TEST_F(AdminTest, SeesATopicThatAppearsLater) {
  const std::string name = unique_name("later");
  EXPECT_FALSE(admin_.describe(name));

  Admin(Stack::brokers()).create({{.name = name}});

  EXPECT_TRUE(admin_.describe(name));
}

TEST_F(AdminTest, RefusesWhatTheBrokerRefuses) {
  EXPECT_EQ(error_of([&] { admin_.create({{.name = "no such name"}}); }).kind(), ErrorKind::misuse);
  EXPECT_EQ(error_of([&] { (void)admin_.describe("a/b"); }).name(), "TOPIC_EXCEPTION");
  EXPECT_EQ(error_of([&] { admin_.create({{.name = unique_name("x"), .replication = 3}}); }).name(),
            "INVALID_REPLICATION_FACTOR");
  const auto error = error_of([&] {
    admin_.create({{.name = unique_name("x"), .config = {{"retention.ms", "soon"}}}});
  });
  EXPECT_EQ(error.kind(), ErrorKind::misuse);
  EXPECT_THAT(error.what(), HasSubstr("retention.ms"));
}

TEST_F(AdminTest, ReadsBothEndsOfAPartition) {
  const std::string topic = unique_topic();
  EXPECT_EQ(admin_.watermarks({topic, 0}).low, 0);
  EXPECT_EQ(admin_.watermarks({topic, 0}).high, 0);

  produce(Stack::brokers(), topic, {"a", "b"});

  EXPECT_EQ(admin_.watermarks({topic, 0}).low, 0);
  EXPECT_EQ(admin_.watermarks({topic, 0}).high, 2);
}

TEST_F(AdminTest, SaysThatAPartitionIsMissing) {
  const auto error = error_of([&] { (void)admin_.watermarks({unique_topic(), 7}); });
  EXPECT_EQ(error.kind(), ErrorKind::misuse);
  EXPECT_THAT(error.what(), HasSubstr("/7"));
}

TEST_F(AdminTest, ReadsWhatAGroupCommittedWithoutJoiningIt) {
  const std::string topic = unique_topic(2);
  const std::string group = unique_name("g");
  EXPECT_THAT(admin_.committed(group, {{topic, 0}}), ElementsAre(Position{topic, 0, -1}));
  Listener listener;
  Consumer consumer({.brokers = Stack::brokers(), .group = group, .topics = {topic}});
  consumer.subscribe({}, listener);
  poll_until(consumer, [&] { return listener.has.size() == 2; });
  consumer.commit({{topic, 1, 0}});

  EXPECT_THAT(admin_.committed(group, {{topic, 1}, {topic, 0}}),
              ElementsAre(Position{topic, 1, 0}, Position{topic, 0, -1}));

  EXPECT_EQ(listener.times_revoked, 0);
}

}  // namespace
}  // namespace oncemark::kafka
