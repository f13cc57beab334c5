#include <memory>
#include <mutex>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <oncemark/kafka/admin.hpp>
#include <oncemark/kafka/consumer.hpp>
#include <oncemark/kafka/errors.hpp>
#include <oncemark/observe/log.hpp>

#include "integration/kafka/traffic.hpp"
#include "support/stack.hpp"
#include "support/unique_topic.hpp"

namespace oncemark::kafka {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::Stack;
using testing::unique_name;
using testing::unique_topic;
using namespace std::chrono_literals;

class Warnings final : public LogSink {
 public:
  void write(LogLevel level, std::string_view text, const std::vector<LogField>& fields) noexcept override {
    if (level != LogLevel::warn) return;
    const std::lock_guard lock(mutex_);
    all_ += text;
    for (const LogField& field : fields) all_ += " " + field.key + "=" + field.value;
    all_ += "\n";
  }
  [[nodiscard]] std::string all() const {
    const std::lock_guard lock(mutex_);
    return all_;
  }

 private:
  mutable std::mutex mutex_;
  std::string all_;
};

class NeededTopics : public ::testing::Test {
 protected:
  ConsumerOptions options() const {
    return {.brokers = Stack::brokers(), .group = unique_name("g"), .topics = {source_}, .session_timeout = 6s};
  }
  const std::string source_ = unique_topic(3);
  const std::string retry_ = unique_name("retry");
  const std::string letters_ = unique_name("dlq");
  const std::vector<TopicNeed> needs_ = {{.topic = retry_, .like = source_, .subscribe = true},
                                         {.topic = letters_, .like = source_}};
  Listener listener_;
};

TEST_F(NeededTopics, AreCreatedWithThePartitionsOfTheirSourceAndRead) {
  Consumer consumer(options());

  consumer.subscribe(needs_, listener_);

  Admin admin(Stack::brokers());
  ASSERT_TRUE(admin.describe(retry_));
  EXPECT_EQ(admin.describe(retry_)->partitions, 3);
  ASSERT_TRUE(admin.describe(letters_));
  EXPECT_EQ(admin.describe(letters_)->partitions, 3);
  poll_until(consumer, [&] { return listener_.has.size() == 6; });
  produce(Stack::brokers(), retry_, {"again"});
  EXPECT_THAT(read(consumer, 1), ElementsAre("again"));
}

TEST_F(NeededTopics, AreLeftAloneWhenTheyExist) {
  Admin(Stack::brokers()).create({{.name = retry_, .partitions = 3}, {.name = letters_, .partitions = 5}});
  auto strict = options();
  strict.create_topics = false;
  Consumer consumer(strict);

  EXPECT_NO_THROW(consumer.subscribe(needs_, listener_));

  EXPECT_EQ(Admin(Stack::brokers()).describe(letters_)->partitions, 5);
}

TEST_F(NeededTopics, AreAskedForByCommandWhenTheyMayNotBeCreated) {
  auto strict = options();
  strict.create_topics = false;
  Consumer consumer(strict);

  try {
    consumer.subscribe(needs_, listener_);
    FAIL() << "nothing was thrown";
  } catch (const KafkaError& error) {
    EXPECT_EQ(error.kind(), ErrorKind::misuse);
    EXPECT_THAT(error.what(),
                AllOf(HasSubstr("kafka-topics.sh --bootstrap-server " + Stack::brokers() + " --create --topic " +
                                retry_ + " --partitions 3 --config cleanup.policy=delete"),
                      HasSubstr(" --config max.message.bytes=1114124"), HasSubstr(" --config retention.ms=604800000")));
  }
}

TEST_F(NeededTopics, WithTooFewPartitionsAreReportedWithTheRepair) {
  Admin(Stack::brokers()).create({{.name = retry_, .partitions = 2}});
  const auto warnings = std::make_shared<Warnings>();
  set_log_sink(warnings);
  Consumer consumer(options());

  consumer.subscribe(needs_, listener_);

  set_log_sink(nullptr);
  EXPECT_THAT(warnings->all(),
              AllOf(HasSubstr("fewer partitions"), HasSubstr("--alter --topic " + retry_ + " --partitions 3")));
}

TEST_F(NeededTopics, AreMadeWithRoomForOurHeadersAndNoLessRetentionThanTheirSource) {
  const std::string large = unique_topic(1, {{"max.message.bytes", "3000000"}, {"retention.ms", "2592000000"}});
  auto own = options();
  own.topics = {large};
  Consumer consumer(own);

  consumer.subscribe({{.topic = retry_, .like = large, .subscribe = true}}, listener_);

  const Properties made = Admin(Stack::brokers()).config(retry_);
  EXPECT_EQ(made.at("cleanup.policy"), "delete");
  EXPECT_EQ(made.at("max.message.bytes"), std::to_string(3'000'000 + 65'536));
  EXPECT_EQ(made.at("retention.ms"), "2592000000");
}

TEST_F(NeededTopics, ThatWouldLoseOrRefuseRecordsAreReportedWithTheRepair) {
  Admin(Stack::brokers())
      .create({{.name = retry_,
                .partitions = 3,
                .config = {{"cleanup.policy", "compact"}, {"retention.ms", "1000"}, {"max.message.bytes", "1000"}}}});
  const auto warnings = std::make_shared<Warnings>();
  set_log_sink(warnings);
  Consumer consumer(options());

  consumer.subscribe({needs_.front()}, listener_);

  set_log_sink(nullptr);
  const std::string repair = "kafka-configs.sh --bootstrap-server " + Stack::brokers() +
                             " --alter --entity-type topics --entity-name " + retry_ + " --add-config ";
  EXPECT_THAT(warnings->all(),
              AllOf(HasSubstr(repair + "cleanup.policy=delete"), HasSubstr(repair + "retention.ms=604800000"),
                    HasSubstr(repair + "max.message.bytes=1114124")));
}

TEST_F(NeededTopics, DoNotHideAMissingSource) {
  auto misspelt = options();
  misspelt.topics = {source_, source_ + "x"};
  Consumer consumer(misspelt);

  try {
    consumer.subscribe(needs_, listener_);
    FAIL() << "nothing was thrown";
  } catch (const KafkaError& error) {
    EXPECT_EQ(error.kind(), ErrorKind::misuse);
    EXPECT_THAT(error.what(), AllOf(HasSubstr("source topic " + source_ + "x"), HasSubstr("kafka-topics.sh")));
  }
  EXPECT_FALSE(Admin(Stack::brokers()).describe(source_ + "x"));
  EXPECT_FALSE(Admin(Stack::brokers()).describe(retry_));
}

}  // namespace
}  // namespace oncemark::kafka
