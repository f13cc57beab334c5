#include "binlog/gtid_set.hpp"

#include <gtest/gtest.h>

#include "event_bytes.hpp"

namespace oncemark::binlog {
namespace {

constexpr const char* kUuid = "b5698186-e682-11f1-9706-02fc00000001";

Gtid of_mysql(std::uint64_t number, const std::string& tag = "") {
  Gtid gtid;
  gtid.source = std::string("\xb5\x69\x81\x86\xe6\x82\x11\xf1\x97\x06\x02\xfc\x00\x00\x00\x01", 16) + tag;
  gtid.number = number;
  return gtid;
}

Gtid of_mariadb(std::uint32_t domain, std::uint32_t server, std::uint64_t number) {
  Gtid gtid;
  gtid.domain = domain;
  gtid.server = server;
  gtid.number = number;
  return gtid;
}

TEST(GtidSet, PrintsWhatItHasRead) {
  const std::string text = std::string(kUuid) + ":1-442:450," + kUuid + ":mytag:1-3";

  EXPECT_EQ(GtidSet::parse(Flavor::mysql, text).str(), text);
  EXPECT_EQ(GtidSet::parse(Flavor::mysql, std::string(kUuid) + ":1-442:450:\n mytag:1-3").str(), text);
  EXPECT_EQ(GtidSet::parse(Flavor::mariadb, "1-7-12,0-1-5").str(), "0-1-5,1-7-12");
  EXPECT_EQ(GtidSet::parse(Flavor::mysql, "").str(), "");
}

TEST(GtidSet, GrowsByTransactions) {
  GtidSet set = GtidSet::parse(Flavor::mysql, std::string(kUuid) + ":1-3");
  set.add(of_mysql(4));
  set.add(of_mysql(7));
  set.add(of_mysql(6));
  set.add(of_mysql(1, "red"));

  EXPECT_EQ(set.str(), std::string(kUuid) + ":1-4:6-7," + kUuid + ":red:1");
}

TEST(GtidSet, KeepsTheLastTransactionOfEachDomain) {
  GtidSet set = GtidSet::parse(Flavor::mariadb, "0-1-5");
  set.add(of_mariadb(0, 2, 6));
  set.add(of_mariadb(3, 1, 1));

  EXPECT_EQ(set.str(), "0-2-6,3-1-1");
}

TEST(GtidSet, JoinsWhatTwoReadersHaveSeen) {
  GtidSet set = GtidSet::parse(Flavor::mysql, std::string(kUuid) + ":1-3");
  set.add(GtidSet::parse(Flavor::mysql, std::string(kUuid) + ":4-9:20"));

  EXPECT_EQ(set.str(), std::string(kUuid) + ":1-9:20");
}

TEST(GtidSet, TakesNoNoticeOfAnonymousTransactions) {
  GtidSet set(Flavor::mysql);
  set.add(Gtid{});

  EXPECT_TRUE(set.is_empty());
}

TEST(GtidSet, EncodesTheSetWithAndWithoutTags) {
  const std::string uuid = of_mysql(1).source;
  EXPECT_EQ(GtidSet::parse(Flavor::mysql, std::string(kUuid) + ":1-3:7").encoded(),
            le(1, 8) + uuid + le(2, 8) + le(1, 8) + le(4, 8) + le(7, 8) + le(8, 8));
  EXPECT_EQ(GtidSet::parse(Flavor::mysql, std::string(kUuid) + ":red:1").encoded(),
            le(std::uint64_t{1} << 56 | 1 << 8 | 1, 8) + uuid + "\x06red" + le(1, 8) + le(1, 8) + le(2, 8));
}

TEST(GtidSet, RefusesWhatIsNoSet) {
  for (const char* text : {"x", "b5698186:1", "0-1-5", "b5698186-e682-11f1-9706-02fc00000001:0",
                           "b5698186-e682-11f1-9706-02fc00000001:9-3", "b5698186-e682-11f1-9706-02fc00000001:1-2-3"}) {
    EXPECT_THROW((void)GtidSet::parse(Flavor::mysql, text), BinlogError) << text;
  }
  EXPECT_THROW((void)GtidSet::parse(Flavor::mariadb, kUuid), BinlogError);
  EXPECT_THROW((void)GtidSet::parse(Flavor::mariadb, "0-1-18446744073709551615"), BinlogError);
}

}  // namespace
}  // namespace oncemark::binlog
