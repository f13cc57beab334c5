#include "binlog/group_reader.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

#include "binlog/server.hpp"

namespace oncemark::binlog {
namespace {

using ::testing::ElementsAre;

class GroupReaderTest : public ::testing::Test {
 protected:
  void take(const Event& event, std::uint32_t next = 0, std::uint16_t flags = 0) {
    EventHeader header;
    header.next = next;
    header.flags = flags;
    reader_.take(header, event);
  }
  static Gtid mariadb(bool is_standalone, bool is_prepared = false) {
    Gtid gtid;
    gtid.number = 5;
    gtid.is_standalone = is_standalone;
    gtid.is_prepared = is_prepared;
    return gtid;
  }
  static Gtid mysql() {
    Gtid gtid;
    gtid.number = 5;
    gtid.source = std::string(16, 'u');
    return gtid;
  }
  static Query query(const std::string& text) { return {.schema = "s", .text = text}; }

  std::vector<std::string> seen_;
  GroupReader reader_{{.rows = [this](const RowsEvent&) { seen_.emplace_back("rows"); },
                       .statement = [this](const Query& text) { seen_.push_back(text.text); },
                       .end =
                           [this](const GroupEnd& end) {
                             const char* outcome = end.outcome == Outcome::committed ? "committed"
                                                   : end.outcome == Outcome::open    ? "open"
                                                                                     : "discarded";
                             seen_.push_back(std::string(outcome) + (end.settles_xa ? " xa " : " ") + end.file + ":" +
                                             std::to_string(end.position));
                           }}};
};

TEST_F(GroupReaderTest, EndsATransactionOfMysqlAtItsXid) {
  take(Rotate{"binlog.000003", 4});
  take(mysql(), 100);
  take(query("BEGIN"), 150);
  take(RowsEvent{}, 200);
  take(Commit{}, 250);

  EXPECT_THAT(seen_, ElementsAre("rows", "committed binlog.000003:250"));
}

TEST_F(GroupReaderTest, EndsATransactionOfMariadbThatHasNoBegin) {
  take(Rotate{"binlog.000003", 4});
  take(mariadb(false), 100);
  take(RowsEvent{}, 200);
  take(query("COMMIT"), 250);

  EXPECT_THAT(seen_, ElementsAre("rows", "committed binlog.000003:250"));
}

TEST_F(GroupReaderTest, TakesAStatementByItselfForAGroup) {
  take(mysql(), 100);
  take(query("CREATE TABLE t (a INT)"), 200);
  take(mariadb(true), 300);
  take(query("/* by hand */ DROP TABLE t"), 400);

  EXPECT_THAT(seen_,
              ElementsAre("CREATE TABLE t (a INT)", "committed :200", "/* by hand */ DROP TABLE t", "committed :400"));
}

TEST_F(GroupReaderTest, DiscardsWhatWasRolledBackOrCutOff) {
  take(mysql(), 100);
  take(query("BEGIN"), 150);
  take(query("ROLLBACK"), 200);
  take(mysql(), 300);
  take(query("BEGIN"), 350);
  take(FormatDescription{});

  EXPECT_THAT(seen_, ElementsAre("discarded :200", "discarded :350"));
}

TEST_F(GroupReaderTest, HoldsAnXaTransactionToBeOpenUntilItIsCommitted) {
  take(mysql(), 100);
  take(query("XA START X'78',X'',1"), 150);
  take(RowsEvent{}, 200);
  take(query("XA END X'78',X'',1"), 250);
  take(Prepared{}, 300);
  take(mysql(), 400);
  take(query("XA COMMIT X'78',X'',1"), 450);

  EXPECT_THAT(seen_, ElementsAre("rows", "open :300", "committed xa :450"));
}

TEST_F(GroupReaderTest, DoubtsRowsBehindASavepointThatWasRolledBack) {
  take(mysql(), 100);
  take(query("BEGIN"), 150);
  take(RowsEvent{}, 200);
  take(query("ROLLBACK TO `a`"), 250);
  take(Commit{}, 300);

  EXPECT_THAT(seen_, ElementsAre("rows", "open :300"));
}

TEST_F(GroupReaderTest, FollowsAFileBeyond4GiB) {
  take(Rotate{"binlog.000003", 4});
  take(Ignored{}, 0xfffffff0);
  take(mysql(), 0x00000010);

  EXPECT_EQ(reader_.position(), 0x100000010u);
}

TEST_F(GroupReaderTest, StaysWhereItIsOnEventsThatWereMadeUp) {
  take(Rotate{"binlog.000003", 500});
  take(Ignored{}, 120, 0x20);
  take(FormatDescription{}, 0);

  EXPECT_EQ(reader_.position(), 500u);
}

TEST(LeadingWords, PassesOverCommentsAndCase) {
  EXPECT_EQ(leading_words("  /* app */ start\n transaction ", 2), "START TRANSACTION");
  EXPECT_EQ(leading_words("rollback;", 2), "ROLLBACK");
  EXPECT_EQ(leading_words("/* never ends", 1), "");
}

TEST(HasReached, ComparesFilesByTheirNumber) {
  const Place place{.file = "binlog.000009", .position = 500};

  EXPECT_FALSE(has_reached("binlog.000009", 499, place));
  EXPECT_TRUE(has_reached("binlog.000009", 500, place));
  EXPECT_TRUE(has_reached("binlog.000010", 4, place));
  EXPECT_TRUE(has_reached("binlog.1000000", 4, {.file = "binlog.999999", .position = 9}));
  EXPECT_FALSE(has_reached("binlog.000008", 9999, place));
}

}  // namespace
}  // namespace oncemark::binlog
