#include <oncemark/mysql/errors.hpp>

#include <gtest/gtest.h>

namespace oncemark::mysql {
namespace {

MysqlError error(int code, std::string_view sqlstate = "HY000") { return make_error("test", code, sqlstate, "text"); }

TEST(MysqlError, TellsWhatWasTriedTheNativeCodeAndTheCure) {
  const MysqlError missing = make_error("statement \"SELECT 1\"", 1146, "42S02", "Table 'a.b' doesn't exist");

  EXPECT_STREQ(missing.what(),
               "statement \"SELECT 1\": MySQL 1146 (42S02) Table 'a.b' doesn't exist; run `oncemark schema apply`");
  EXPECT_EQ(missing.code(), 1146);
  EXPECT_EQ(missing.sqlstate(), "42S02");
  EXPECT_EQ(missing.error_class(), "mysql.1146");
}

TEST(MysqlError, EscapesControlCharactersOfTheServersText) {
  EXPECT_EQ(std::string(make_error("test", 1062, "23000", "Duplicate entry 'a\nb'").what()).find('\n'),
            std::string::npos);
}

TEST(MysqlError, BreaksTheConnectionWhenTheConnectionIsLost) {
  for (const int code : {2002, 2003, 2006, 2013, 2014, 2027, 2055, 4031, 1053, 1927}) {
    EXPECT_TRUE(error(code).breaks_connection()) << code;
    EXPECT_TRUE(error(code).dooms_transaction()) << code;
  }
}

TEST(MysqlError, KeepsTheConnectionAfterTheServersOrdinaryAnswers) {
  for (const int code : {0, 1062, 1064, 1146, 1205, 1213, 1290, 1317, 1406, 2057, 3572}) {
    EXPECT_FALSE(error(code).breaks_connection()) << code;
  }
}

TEST(MysqlError, DoomsTheTransactionThatTheServerRolledBackOrThatMissesAStatement) {
  EXPECT_TRUE(error(1205).dooms_transaction());
  EXPECT_TRUE(error(1213).dooms_transaction());
  EXPECT_TRUE(error(1020).dooms_transaction());
  EXPECT_TRUE(error(1206).dooms_transaction());
  EXPECT_TRUE(error(1614, "40000").dooms_transaction());
}

TEST(MysqlError, LeavesTheTransactionAliveAfterAFailedStatement) {
  for (const int code : {1062, 1064, 1317, 1406, 3572}) EXPECT_FALSE(error(code).dooms_transaction()) << code;
}

TEST(MysqlError, CountsNoAttemptForALostRaceOrAServerThatIsDown) {
  for (const int code : {1205, 1213, 1020, 3572, 1040, 1203, 1053, 1290, 1836, 2002, 2003, 2006, 2013, 4031}) {
    EXPECT_TRUE(error(code).is_infrastructure()) << code;
  }
  for (const int code : {1062, 1064, 1317, 1406, 1452}) EXPECT_FALSE(error(code).is_infrastructure()) << code;
}

TEST(Classify, CallsALostRaceTransient) {
  for (const int code : {1205, 1213, 1020, 3101, 1180, 2057}) {
    EXPECT_EQ(classify(code, "HY000"), ErrorKind::transient) << code;
  }
}

TEST(Classify, CallsAServerThatIsDownFullOrReadOnlyUnavailable) {
  for (const int code : {2002, 2003, 2005, 2006, 2013, 4031, 1040, 1203, 1053, 1290, 1836, 1792, 3100, 1114}) {
    EXPECT_EQ(classify(code, "HY000"), ErrorKind::unavailable) << code;
  }
}

TEST(Classify, CallsAWrongSetUpMisuse) {
  EXPECT_EQ(classify(1045, "28000"), ErrorKind::misuse);
  EXPECT_EQ(classify(1698, "28000"), ErrorKind::misuse);
  EXPECT_EQ(classify(1049, "42000"), ErrorKind::misuse);
  EXPECT_EQ(classify(1146, "42S02"), ErrorKind::misuse);
  EXPECT_EQ(classify(1054, "42S22"), ErrorKind::misuse);
  EXPECT_EQ(classify(1064, "42000"), ErrorKind::misuse);
  EXPECT_EQ(classify(3159, "HY000"), ErrorKind::misuse);
  EXPECT_EQ(classify(0, ""), ErrorKind::misuse);
}

TEST(Classify, CallsBadDataPermanent) {
  EXPECT_EQ(classify(1062, "23000"), ErrorKind::permanent);
  EXPECT_EQ(classify(1406, "22001"), ErrorKind::permanent);
  EXPECT_EQ(classify(1366, "HY000"), ErrorKind::permanent);
  EXPECT_EQ(classify(1153, "08S01"), ErrorKind::permanent);
  EXPECT_EQ(classify(1644, "45000"), ErrorKind::permanent);
}

TEST(Classify, JudgesAnUnknownNumberByTheClassOfItsState) {
  EXPECT_EQ(classify(9999, "08006"), ErrorKind::unavailable);
  EXPECT_EQ(classify(9999, "40002"), ErrorKind::transient);
  EXPECT_EQ(classify(9999, "42S01"), ErrorKind::misuse);
  EXPECT_EQ(classify(9999, "22007"), ErrorKind::permanent);
  EXPECT_EQ(classify(2099, "HY000"), ErrorKind::unavailable);
}

TEST(Cure, NamesTheSettingOrTheCommand) {
  EXPECT_EQ(cure(1045), "check user and password_file");
  EXPECT_EQ(cure(1146), "run `oncemark schema apply`");
  EXPECT_NE(cure(2006).find("max_allowed_packet"), std::string_view::npos);
  EXPECT_NE(cure(3159).find("tls_ca"), std::string_view::npos);
  EXPECT_EQ(cure(1062), "");
  EXPECT_EQ(cure(123456), "");
}

}  // namespace
}  // namespace oncemark::mysql
