#include <oncemark/core/clock.hpp>

#include <random>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <oncemark/core/error.hpp>

namespace oncemark {
namespace {

using namespace std::chrono;
using namespace std::chrono_literals;

constexpr Time kMorning = sys_days{2026y / November / 23} + 9h + 30min + 123us;

TEST(Rfc3339, PrintsUtcWithSixDigits) {
  EXPECT_EQ(format_rfc3339(kMorning), "2026-11-23T09:30:00.000123Z");
  EXPECT_EQ(format_rfc3339(Time{}), "1970-01-01T00:00:00.000000Z");
}

TEST(Rfc3339, PrintsTimesBefore1970) {
  EXPECT_EQ(format_rfc3339(Time{-1us}), "1969-12-31T23:59:59.999999Z");
  EXPECT_EQ(format_rfc3339(Time{sys_days{1900y / March / 1}} - 1us), "1900-02-28T23:59:59.999999Z");
}

TEST(Rfc3339, PrintsWhatItsYearsCannotHoldAsTheNearestThatTheyCan) {
  EXPECT_EQ(format_rfc3339(Time::max()), "9999-12-31T23:59:59.999999Z");
  EXPECT_EQ(format_rfc3339(Time::min()), "0000-01-01T00:00:00.000000Z");
}

TEST(Rfc3339, ReadsZeroToNineFractionDigitsAndCutsToSix) {
  const Time second = sys_days{2026y / November / 23} + 9h + 30min;

  EXPECT_EQ(parse_rfc3339("2026-11-23T09:30:00Z"), second);
  EXPECT_EQ(parse_rfc3339("2026-11-23T09:30:00.5Z"), second + 500ms);
  EXPECT_EQ(parse_rfc3339("2026-11-23T09:30:00.05Z"), second + 50ms);
  EXPECT_EQ(parse_rfc3339("2026-11-23T09:30:00.123Z"), second + 123ms);
  EXPECT_EQ(parse_rfc3339("2026-11-23T09:30:00.000123Z"), kMorning);
  EXPECT_EQ(parse_rfc3339("2026-11-23T09:30:00.0001239Z"), kMorning);
  EXPECT_EQ(parse_rfc3339("2026-11-23T09:30:00.000123999Z"), kMorning);
}

TEST(Rfc3339, ReadsOffsets) {
  EXPECT_EQ(parse_rfc3339("2026-11-23T10:30:00.000123+01:00"), kMorning);
  EXPECT_EQ(parse_rfc3339("2026-11-23T04:00:00.000123-05:30"), kMorning);
  EXPECT_EQ(parse_rfc3339("2026-11-24T09:29:00.000123+23:59"), kMorning);
  EXPECT_EQ(parse_rfc3339("2026-11-23T09:30:00.000123-00:00"), kMorning);
  EXPECT_EQ(parse_rfc3339("2027-01-01T00:30:00+01:00"), sys_days{2026y / December / 31} + 23h + 30min);
}

TEST(Rfc3339, ReadsTheLowerCaseAndTheBlankThatTheRfcAllows) {
  EXPECT_EQ(parse_rfc3339("2026-11-23t09:30:00.000123z"), kMorning);
  EXPECT_EQ(parse_rfc3339("2026-11-23 09:30:00.000123Z"), kMorning);
}

TEST(Rfc3339, KnowsLeapDays) {
  EXPECT_EQ(parse_rfc3339("2024-02-29T00:00:00Z"), Time{sys_days{2024y / February / 29}});
  EXPECT_EQ(parse_rfc3339("2000-02-29T00:00:00Z"), Time{sys_days{2000y / February / 29}});
  EXPECT_THROW((void)parse_rfc3339("2023-02-29T00:00:00Z"), PermanentError);
  EXPECT_THROW((void)parse_rfc3339("1900-02-29T00:00:00Z"), PermanentError);
}

TEST(Rfc3339, ReadsTimesBefore1970) {
  EXPECT_EQ(parse_rfc3339("1969-12-31T23:59:59.999999Z"), Time{-1us});
  EXPECT_EQ(parse_rfc3339("0000-01-01T00:00:00Z"), Time{sys_days{0y / January / 1}});
}

class Rfc3339Refuses : public testing::TestWithParam<const char*> {};

TEST_P(Rfc3339Refuses, Garbage) { EXPECT_THROW((void)parse_rfc3339(GetParam()), PermanentError); }

INSTANTIATE_TEST_SUITE_P(
    Clock, Rfc3339Refuses,
    testing::Values("", "Z", "now", "2026", "2026-11-23", "2026-11-23T09:30:00", "2026-11-23T09:30Z",
                    "2026-11-23T09:30:00.Z", "2026-11-23T09:30:00.1234567890Z", "2026-11-23T09:30:00ZZ",
                    "2026-11-23T09:30:00Z ", " 2026-11-23T09:30:00Z", "2026-11-23T24:00:00Z", "2026-11-23T09:60:00Z",
                    "2026-12-31T23:59:60Z", "2026-13-01T00:00:00Z", "2026-00-01T00:00:00Z", "2026-11-31T00:00:00Z",
                    "2026-11-00T00:00:00Z", "+026-11-23T09:30:00Z", "-026-11-23T09:30:00Z", "12026-11-23T09:30:00Z",
                    "2026-11-23T09:30:00+1:00", "2026-11-23T09:30:00+0100", "2026-11-23T09:30:00+24:00",
                    "2026-11-23T09:30:00+01:60", "2026-11-23T09:30:00+", "2026/11/23T09:30:00Z", "2026-11-23_09:30:00Z",
                    "2026-11-23T09:30:00,5Z"));

TEST(Rfc3339, QuotesWhatItCouldNotReadWithoutItsControlCharacters) {
  try {
    (void)parse_rfc3339("now\nor\xFFnever");
    FAIL() << "accepted";
  } catch (const PermanentError& error) {
    EXPECT_THAT(error.what(), testing::StartsWith("not an RFC 3339 time: 'now?or?never'"));
  }
}

TEST(Rfc3339, ReadsBackWhatItPrints) {
  const auto seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937_64 random(seed);
  const auto first = Time{sys_days{0y / January / 1}}.time_since_epoch().count();
  const auto last = Time{sys_days{9999y / December / 31}}.time_since_epoch().count();
  std::uniform_int_distribution<std::int64_t> any(first, last);

  for (int i = 0; i < 2'000; ++i) {
    const Time time{microseconds{any(random)}};
    ASSERT_EQ(parse_rfc3339(format_rfc3339(time)), time);
    ASSERT_EQ(parse_datetime(format_datetime(time)), time);
  }
}

TEST(Datetime, PrintsUtcWithSixDigits) {
  EXPECT_EQ(format_datetime(kMorning), "2026-11-23 09:30:00.000123");
  EXPECT_EQ(format_datetime(Time{-1us}), "1969-12-31 23:59:59.999999");
}

TEST(Datetime, ReadsZeroToSixFractionDigits) {
  EXPECT_EQ(parse_datetime("2026-11-23 09:30:00.000123"), kMorning);
  EXPECT_EQ(parse_datetime("2026-11-23 09:30:00"), kMorning - 123us);
  EXPECT_EQ(parse_datetime("2026-11-23 09:30:00.1"), kMorning - 123us + 100ms);
}

TEST(Datetime, RefusesOtherForms) {
  for (const char* text : {"", "0000-00-00 00:00:00", "2026-11-23", "2026-11-23T09:30:00", "2026-11-23 09:30:00Z",
                           "2026-11-23 09:30:00.1234567", "2026-11-23 09:30:00.", "2026-11-23 09:30:00+00:00"}) {
    EXPECT_THROW((void)parse_datetime(text), PermanentError) << text;
  }
}

TEST(SystemClock, ReadsTheMachinesClocks) {
  const SystemClock clock;
  const auto wall = system_clock::now();
  const auto steady = steady_clock::now();

  EXPECT_LT(abs(clock.now() - wall), 60s);
  EXPECT_GE(clock.steady(), steady);
}

}  // namespace
}  // namespace oncemark
