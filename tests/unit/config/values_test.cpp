#include <oncemark/config/values.hpp>

#include <vector>

#include <gtest/gtest.h>
#include <oncemark/core/error.hpp>

namespace oncemark::config {
namespace {

using namespace std::chrono_literals;

TEST(Values, ReadDurationsInEachUnit) {
  EXPECT_EQ(parse_duration("200ms", "x"), 200ms);
  EXPECT_EQ(parse_duration("5s", "x"), 5s);
  EXPECT_EQ(parse_duration("10m", "x"), 10min);
  EXPECT_EQ(parse_duration("2h", "x"), 2h);
  EXPECT_EQ(parse_duration("7d", "x"), 168h);
  EXPECT_EQ(parse_duration("0s", "x"), 0s);
}

TEST(Values, RefuseADurationWithoutUnitOrTooLong) {
  for (const char* text : {"", "5", "s", "-5s", "5 s", "5sec", "1.5s", "+5s", "9223372036854775807d"}) {
    EXPECT_THROW((void)parse_duration(text, "x"), ConfigError) << text;
  }
}

TEST(Values, ReadSizesInPowersOf1024) {
  EXPECT_EQ(parse_size("12", "x"), 12u);
  EXPECT_EQ(parse_size("512B", "x"), 512u);
  EXPECT_EQ(parse_size("4KiB", "x"), 4'096u);
  EXPECT_EQ(parse_size("1MiB", "x"), 1'048'576u);
  EXPECT_EQ(parse_size("2GiB", "x"), 2'147'483'648u);
}

TEST(Values, RefuseASizeWithAnAmbiguousUnit) {
  for (const char* text : {"", "4K", "4KB", "KiB", "-1B", "99999999999GiB"}) {
    EXPECT_THROW((void)parse_size(text, "x"), ConfigError) << text;
  }
}

TEST(Nearest, FindsSlipsOfTheFingerAndNothingElse) {
  const std::vector<std::string> words{"brokers", "properties", "linger"};

  EXPECT_EQ(nearest("brokrs", words), "brokers");
  EXPECT_EQ(nearest("borkers", words), "brokers");
  EXPECT_EQ(nearest("proprties", words), "properties");
  EXPECT_EQ(nearest("password", words), std::nullopt);
  EXPECT_EQ(nearest("", words), std::nullopt);
  EXPECT_EQ(nearest(std::string(1'000'000, 'x'), words), std::nullopt);
}

}  // namespace
}  // namespace oncemark::config
