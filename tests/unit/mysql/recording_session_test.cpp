#include <oncemark/testing/recording_session.hpp>

#include <gtest/gtest.h>

namespace oncemark::testing {
namespace {

TEST(RecordingSession, AffectsOneRowAndFindsNoneUnlessScripted) {
  RecordingSession session;

  EXPECT_EQ(session.execute("INSERT", {}), 1u);
  EXPECT_TRUE(session.query("SELECT", {}).empty());
}

TEST(RecordingSession, GivesAnswersForTheSameStatementInTheirOrder) {
  RecordingSession session;
  session.will_affect("INSERT INTO a", 2);
  session.will_affect("INSERT INTO a", 0);
  session.will_affect("INSERT INTO b", 5);

  EXPECT_EQ(session.execute("INSERT INTO b VALUES (1)", {}), 5u);
  EXPECT_EQ(session.execute("INSERT INTO a VALUES (1)", {}), 2u);
  EXPECT_FALSE(session.is_played());
  EXPECT_EQ(session.execute("INSERT INTO a VALUES (1)", {}), 0u);
  EXPECT_TRUE(session.is_played());
}

TEST(RecordingSession, RecordsAStatementThatFails) {
  RecordingSession session;
  session.will_fail("INSERT", 1062, "23000", "Duplicate entry");

  try {
    session.execute("INSERT", std::vector<mysql::Param>{std::string("key")});
    FAIL();
  } catch (const mysql::MysqlError& error) {
    EXPECT_EQ(error.code(), 1062);
    EXPECT_EQ(error.kind(), ErrorKind::permanent);
  }
  ASSERT_EQ(session.sent().size(), 1u);
  EXPECT_EQ(std::get<std::string>(session.sent()[0].params[0]), "key");
}

}  // namespace
}  // namespace oncemark::testing
