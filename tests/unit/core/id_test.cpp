#include <oncemark/core/id.hpp>

#include <algorithm>
#include <set>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/id_sequence.hpp"

namespace oncemark {
namespace {

using namespace std::chrono_literals;

constexpr std::uint64_t kAllOnes = ~std::uint64_t{0};

// Ids of one process never go back, so a test that looks at the time needs a later one than all others.
Time later_than_all_before() { return MessageId::generate(Time{}).time() + 1h; }

TEST(MessageId, HasTheFormOfAUuidVersion7) {
  const std::string form = "[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}";

  for (int i = 0; i < 100; ++i) {
    EXPECT_THAT(MessageId::generate(SystemClock().now()).str(), testing::MatchesRegex(form));
  }
}

TEST(MessageId, CarriesItsMillisecond) {
  const Time time = later_than_all_before();
  EXPECT_EQ(MessageId::generate(time + 999us).time(), time);
}

TEST(MessageId, GrowsWithinOneMillisecond) {
  const Time now = later_than_all_before();
  MessageId last = MessageId::generate(now);

  for (int i = 0; i < 10'000; ++i) {
    const MessageId next = MessageId::generate(now);
    ASSERT_LT(last, next);
    ASSERT_LT(last.str(), next.str());
    last = next;
  }
  EXPECT_EQ(last.time(), now);
}

TEST(MessageId, GrowsWhenTheClockGoesBack) {
  const Time now = later_than_all_before();
  const MessageId before = MessageId::generate(now);
  const MessageId after = MessageId::generate(now - 10min);

  EXPECT_LT(before, after);
  EXPECT_EQ(after.time(), now);
}

TEST(MessageId, NeverRepeatsOverThreads) {
  const Time now = later_than_all_before();
  std::vector<std::vector<MessageId>> made(4);
  {
    std::vector<std::jthread> threads;
    for (auto& ids : made) {
      threads.emplace_back([&ids, now] {
        for (int i = 0; i < 2'000; ++i) ids.push_back(MessageId::generate(now));
      });
    }
  }

  std::set<MessageId> all;
  for (const auto& ids : made) {
    EXPECT_TRUE(std::is_sorted(ids.begin(), ids.end()));
    all.insert(ids.begin(), ids.end());
  }
  EXPECT_EQ(all.size(), 8'000U);
}

TEST(IdSequence, LaysTimeVersionAndVariantOutAsTheRfcDoes) {
  IdSequence sequence;
  const auto bytes = sequence.next(0x0193572c6a00, 0xabc, 0x0def0123456789ab);

  const std::array<std::uint8_t, 16> expected = {0x01, 0x93, 0x57, 0x2c, 0x6a, 0x00, 0x7a, 0xbc,
                                                 0x8d, 0xef, 0x01, 0x23, 0x45, 0x67, 0x89, 0xab};
  EXPECT_EQ(bytes, expected);
}

TEST(IdSequence, CarriesFromTheLowBitsIntoTheHighOnes) {
  IdSequence sequence;
  const auto first = sequence.next(5, 0, kAllOnes);
  const auto second = sequence.next(5, kAllOnes, 0);

  EXPECT_LT(first, second);
  EXPECT_EQ(second[5], 5);
  EXPECT_EQ(second[7], 1);
}

TEST(IdSequence, BorrowsFromTheNextMillisecondWhenItsBitsOverflow) {
  IdSequence sequence;
  const auto first = sequence.next(5, kAllOnes, kAllOnes);
  const auto second = sequence.next(5, 0, 0);
  const auto third = sequence.next(6, 0, kAllOnes);

  EXPECT_LT(first, second);
  EXPECT_EQ(second[5], 6);
  EXPECT_LT(second, third);
}

TEST(IdSequence, ClampsTimesThatItsBitsCannotHold) {
  IdSequence sequence;
  EXPECT_EQ(sequence.next(-1, 0, 0)[0], 0);
  EXPECT_EQ(sequence.next(std::int64_t{1} << 50, 0, 0)[0], 0xFF);
}

TEST(RandomToken, IsNeverZeroAndDoesNotRepeat) {
  std::set<std::uint64_t> tokens;
  for (int i = 0; i < 1'000; ++i) tokens.insert(random_token());

  EXPECT_EQ(tokens.size(), 1'000U);
  EXPECT_FALSE(tokens.contains(0));
}

}  // namespace
}  // namespace oncemark
