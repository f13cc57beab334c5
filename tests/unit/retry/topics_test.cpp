#include <oncemark/retry/topics.hpp>

#include <gtest/gtest.h>

#include <oncemark/core/error.hpp>

namespace oncemark::retry {
namespace {

TEST(TopicNames, FillTheTemplates) {
  const TopicNames names;

  EXPECT_EQ(names.retry_topic("shipping", "orders"), "retry.shipping.orders");
  EXPECT_EQ(names.dead_letter_topic("shipping", "orders"), "dlq.shipping.orders");
}

TEST(TopicNames, RefuseWhatIsNoTopic) {
  const TopicNames names;

  EXPECT_THROW((void)names.retry_topic("shipping", std::string(240, 't')), PermanentError);
  EXPECT_THROW((void)names.retry_topic("ship ping", "orders"), PermanentError);
}

TEST(TopicNames, RefuseTemplatesThatGroupsOrTopicsWouldShare) {
  EXPECT_THROW((TopicNames{.retry = "retry.{topic}"}.validate()), ConfigError);
  EXPECT_THROW((TopicNames{.dead_letter = "dlq.{group}"}.validate()), ConfigError);
  EXPECT_THROW((TopicNames{.retry = "x.{group}.{topic}", .dead_letter = "x.{group}.{topic}"}.validate()), ConfigError);
  EXPECT_NO_THROW(TopicNames{}.validate());
}

}  // namespace
}  // namespace oncemark::retry
