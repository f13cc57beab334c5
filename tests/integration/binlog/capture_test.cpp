#include <oncemark/binlog/capture.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <oncemark/core/error.hpp>

#include "binlog_fixture.hpp"

namespace oncemark::binlog {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class CaptureTest : public BinlogRelayTest {
 protected:
  CaptureTest() {
    by_itself(
        "CREATE TABLE orders (id INT UNSIGNED PRIMARY KEY, customer VARCHAR(20), total DECIMAL(9,2), state "
        "ENUM('new','paid'), flags SET('gift','rush'), seal VARBINARY(9), at DATETIME(3), score DOUBLE)");
    by_itself("CREATE TABLE clicks (id INT PRIMARY KEY)");
    by_itself("SET GLOBAL binlog_row_metadata = FULL");  // what is logged by others has more in it then, and no less
  }
  static CaptureOptions options(CapturedTable table = {.table = "orders", .topic = "orders.changes", .key = "id"}) {
    return {.name = "test", .tables = {std::move(table)}, .report_timeout = 300ms};
  }
  [[nodiscard]] static ::testing::AssertionResult is_reading(const Capture& capture) {
    return eventually(10s, [&] { return capture.counts().is_reading; });
  }
  [[nodiscard]] ::testing::AssertionResult has_acked(std::size_t records) {
    return eventually(10s, [&] { return broker_.acked_count() == records; });
  }
  std::string payload(std::size_t record) { return broker_.acked().at(record).payload.str(); }
};

TEST_F(CaptureTest, TellsWhatHasChangedAsJson) {
  Capture capture(pool_, broker_, options());
  ASSERT_TRUE(is_reading(capture));
  execute(
      "INSERT INTO orders VALUES (7, 'J\xc3\xbcrgen \"J\"', 12.50, 'new', 'gift,rush', X'00FF', "
      "'2026-11-26 10:00:00.123', 0.1)");
  execute("UPDATE orders SET state = 'paid', seal = NULL WHERE id = 7");
  execute("DELETE FROM orders WHERE id = 7");

  ASSERT_TRUE(has_acked(3));
  EXPECT_THAT(payload(0), HasSubstr(R"("op": "insert", "schema": ")" + schema_.name() +
                                    R"(", "table": "orders", )"
                                    R"("before": null, "after": {"id": 7, "customer": "J)" +
                                    "\xc3\xbc" +
                                    R"(rgen \"J\"", "total": "12.50", "state": "new", "flags": "gift,rush", )"
                                    R"("seal": {"base64": "AP8="}, "at": "2026-11-26 10:00:00.123", "score": 0.1}, )"));
  EXPECT_THAT(payload(1), HasSubstr(R"("state": "new")"));
  EXPECT_THAT(payload(1), HasSubstr(R"("state": "paid")"));
  EXPECT_THAT(payload(1), HasSubstr(R"("seal": null)"));
  EXPECT_THAT(payload(2), HasSubstr(R"("op": "delete")"));
  EXPECT_THAT(payload(2), HasSubstr(R"("after": null)"));
  for (const OutgoingRecord& record : broker_.acked()) {
    EXPECT_EQ(record.topic, "orders.changes");
    EXPECT_EQ(record.key.view(), "7");
  }
}

TEST_F(CaptureTest, LeavesOutWhatIsNotAskedFor) {
  Capture capture(pool_, broker_,
                  options({.table = "orders",
                           .topic = "t",
                           .changes = {Change::insert, Change::remove},
                           .columns = {"id", "state"},
                           .predicate = [](const RowChange& change) {
                             const Image& image = change.change == Change::remove ? change.before : change.after;
                             return image.find("customer")->view() != "test";
                           }}));
  ASSERT_TRUE(is_reading(capture));
  execute("INSERT INTO orders (id, customer, state) VALUES (1, 'test', 'new'), (2, 'real', 'paid')");
  execute("UPDATE orders SET total = 1");
  execute("INSERT INTO clicks VALUES (1)");
  execute("DELETE FROM orders WHERE id = 2");

  ASSERT_TRUE(has_acked(2));
  EXPECT_THAT(payload(0), HasSubstr(R"("after": {"id": 2, "state": "paid"})"));
  EXPECT_THAT(payload(1), HasSubstr(R"("before": {"id": 2, "state": "paid"})"));
  EXPECT_TRUE(broker_.acked()[0].key.is_null());
  EXPECT_EQ(capture.counts().filtered, 3u);
}

TEST_F(CaptureTest, TellsWhatMeetsItsConditionsAndSaysHowFarItIs) {
  EXPECT_FALSE(ask_capture(pool_, "test").place);
  Capture capture(pool_, broker_,
                  options({.table = "orders",
                           .topic = "t",
                           .key = "id",
                           .changes = {Change::update},
                           .where = {"before.state <> 'paid'", "after.state = 'paid'"}}));
  ASSERT_TRUE(is_reading(capture));
  execute("INSERT INTO orders (id, state) VALUES (1, 'new'), (2, 'paid'), (3, NULL)");
  execute("UPDATE orders SET state = 'paid'");
  execute("UPDATE orders SET total = 1");

  ASSERT_TRUE(eventually(10s, [&] { return capture.counts().filtered == 7; }));
  ASSERT_TRUE(has_acked(1));
  EXPECT_EQ(broker_.acked()[0].key.view(), "1");
  EXPECT_TRUE(eventually(10s, [&] { return ask_capture(pool_, "test").running == 1; }));
  EXPECT_TRUE(ask_capture(pool_, "test").moved_at);
}

TEST_F(CaptureTest, EndsWhereAConditionNamesNoColumn) {
  Capture capture(pool_, broker_, options({.table = "orders", .topic = "t", .where = {"after.status = 'paid'"}}));
  ASSERT_TRUE(is_reading(capture));
  execute("INSERT INTO orders (id) VALUES (1)");

  ASSERT_TRUE(eventually(10s, [&] { return capture.failure().has_value(); }));
  EXPECT_THAT(*capture.failure(), HasSubstr("no column status"));
}

TEST_F(CaptureTest, GoesOnWhereItStoodWithTheSameMessageIds) {
  {
    Capture capture(pool_, broker_, options());
    ASSERT_TRUE(is_reading(capture));
    execute("INSERT INTO orders (id) VALUES (1)");
    ASSERT_TRUE(eventually(10s, [&] { return capture.counts().sent == 1; }));
  }
  const std::string checkpoint = value("SELECT gtids FROM relay_checkpoint WHERE relay = 'capture.test'");
  execute("INSERT INTO orders (id) VALUES (2), (3)");
  {
    Capture capture(pool_, broker_, options());
    ASSERT_TRUE(eventually(10s, [&] { return capture.counts().sent == 2; }));
  }
  execute("UPDATE relay_checkpoint SET gtids = '" + checkpoint + "'");
  Capture again(pool_, broker_, options());

  ASSERT_TRUE(has_acked(5));
  const auto records = broker_.acked();
  EXPECT_EQ(records[1].headers.text("om-message-id"), records[3].headers.text("om-message-id"));
  EXPECT_EQ(records[2].headers.text("om-message-id"), records[4].headers.text("om-message-id"));
  EXPECT_NE(records[1].headers.text("om-message-id"), records[2].headers.text("om-message-id"));
}

TEST_F(CaptureTest, WaitsWithEverythingWhileARecordIsRefused) {
  broker_.answer_key("1", Answer::refuse, 2);
  Capture capture(pool_, broker_, options());
  ASSERT_TRUE(is_reading(capture));
  execute("INSERT INTO orders (id) VALUES (1)");
  execute("INSERT INTO orders (id) VALUES (2)");

  ASSERT_TRUE(eventually(20s, [&] { return by_key(broker_.acked())["1"].size() == 1 && capture.counts().sent >= 2; }));
  EXPECT_FALSE(capture.failure());
}

TEST_F(CaptureTest, EndsWhereTheBinlogIsGone) {
  execute("INSERT INTO relay_checkpoint VALUES ('capture.test', 'binlog.000000', 4, '', UTC_TIMESTAMP(6))");
  execute("INSERT INTO orders (id) VALUES (1)");
  Capture capture(pool_, broker_, options());

  ASSERT_TRUE(eventually(10s, [&] { return capture.failure().has_value(); }));
  EXPECT_THAT(*capture.failure(), HasSubstr("binlog.000000"));
  CaptureOptions from_now = options();
  from_now.from_now = true;
  Capture again(pool_, broker_, from_now);
  ASSERT_TRUE(is_reading(again));
  execute("INSERT INTO orders (id) VALUES (2)");
  EXPECT_TRUE(has_acked(1));
}

TEST_F(CaptureTest, EndsWhereItsTableWasAlteredSince) {
  {
    Capture capture(pool_, broker_, options());
    ASSERT_TRUE(is_reading(capture));
  }
  execute("INSERT INTO orders (id) VALUES (1)");
  by_itself("ALTER TABLE orders ADD COLUMN note TEXT");
  Capture capture(pool_, broker_, options());

  ASSERT_TRUE(eventually(10s, [&] { return capture.failure().has_value(); }));
  EXPECT_THAT(*capture.failure(), HasSubstr("altered"));
}

TEST_F(CaptureTest, EndsWhereAColumnHasAnotherTypeNow) {
  {
    Capture capture(pool_, broker_, options());
    ASSERT_TRUE(is_reading(capture));
  }
  execute("INSERT INTO orders (id, customer) VALUES (1, '7')");
  by_itself("ALTER TABLE orders MODIFY customer INT");
  Capture capture(pool_, broker_, options());

  ASSERT_TRUE(eventually(10s, [&] { return capture.failure().has_value(); }));
  EXPECT_EQ(broker_.acked_count(), 0u);
}

TEST_F(CaptureTest, IsNotConcernedByXaTransactionsOnOtherTables) {
  Capture capture(pool_, broker_, options());
  ASSERT_TRUE(is_reading(capture));
  prepare_xa([](mysql::Session& session) {
    session.control("INSERT INTO clicks VALUES (1)");
  })->control("XA COMMIT " + xid());
  execute("INSERT INTO orders (id) VALUES (1)");

  EXPECT_TRUE(has_acked(1));
  EXPECT_FALSE(capture.failure());
}

TEST_F(CaptureTest, EndsAtAnXaTransactionOnItsTable) {
  Capture capture(pool_, broker_, options());
  ASSERT_TRUE(is_reading(capture));
  prepare_xa([](mysql::Session& session) {
    session.control("INSERT INTO orders (id) VALUES (1)");
  })->control("XA ROLLBACK " + xid());

  EXPECT_TRUE(eventually(10s, [&] { return capture.failure().has_value(); }));
  EXPECT_EQ(broker_.acked_count(), 0u);
}

TEST_F(CaptureTest, HasAStandByThatTakesOver) {
  auto first = std::make_unique<Capture>(pool_, broker_, options());
  ASSERT_TRUE(is_reading(*first));
  RecordingSink other;
  Capture second(pool_, other, options());
  execute("INSERT INTO orders (id) VALUES (1)");
  ASSERT_TRUE(has_acked(1));
  first.reset();
  execute("INSERT INTO orders (id) VALUES (2)");

  EXPECT_TRUE(eventually(10s, [&] { return other.acked_count() == 1; }));
  EXPECT_EQ(by_key(other.acked()).count("2"), 1u);
}

TEST_F(CaptureTest, RefusesOptionsThatNameNoTableOrOneTwice) {
  EXPECT_THROW(Capture(pool_, broker_, {}), MisuseError);
  CaptureOptions twice = options();
  twice.tables.push_back(twice.tables.front());
  EXPECT_THROW(Capture(pool_, broker_, twice), MisuseError);
}

}  // namespace
}  // namespace oncemark::binlog
