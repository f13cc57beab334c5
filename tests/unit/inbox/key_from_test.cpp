#include <oncemark/inbox/key_from.hpp>

#include <gtest/gtest.h>

#include <oncemark/core/error.hpp>
#include <oncemark/testing/builders.hpp>

namespace oncemark::inbox {
namespace {

using testing::message_with_id;

TEST(KeyFrom, TakesTheMessageIdOrCallsItMisuse) {
  Message message = message_with_id("o-1");
  EXPECT_EQ(KeyFrom::message_id().extract(message), "o-1");

  message.has_id = false;
  EXPECT_THROW((void)KeyFrom::message_id().extract(message), MisuseError);
}

TEST(KeyFrom, TakesTheLastHeaderOfAName) {
  Message message = message_with_id("o-1");
  EXPECT_THROW((void)KeyFrom::header("order").extract(message), PermanentError);

  message.headers.append("order", "first");
  message.headers.append("order", std::string("\0last", 5));
  EXPECT_EQ(KeyFrom::header("order").extract(message), std::string("\0last", 5));
}

TEST(KeyFrom, RefusesAnEmptyRecordKey) {
  Message message = message_with_id("o-1");
  EXPECT_EQ(KeyFrom::record_key().extract(message), "o-1");

  message.key = "";
  EXPECT_THROW((void)KeyFrom::record_key().extract(message), PermanentError);
}

TEST(KeyFrom, RefusesAKeyThatWouldNotFit) {
  const auto long_key = [](std::size_t size) {
    return KeyFrom::function([size](const Message&) { return std::string(size, 'k'); });
  };

  EXPECT_EQ(long_key(512).extract(message_with_id("o")).size(), 512u);
  EXPECT_THROW((void)long_key(513).extract(message_with_id("o")), PermanentError);
  EXPECT_THROW((void)long_key(0).extract(message_with_id("o")), PermanentError);
}

}  // namespace
}  // namespace oncemark::inbox
