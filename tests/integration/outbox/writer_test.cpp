#include <oncemark/outbox/writer.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <oncemark/core/error.hpp>
#include <oncemark/mysql/errors.hpp>

#include "outbox_fixture.hpp"

namespace oncemark::outbox {
namespace {

class Append : public OutboxTest {};
class AppendFailureRow : public OutboxTest {};

TEST_F(Append, IsUndoneWithItsTransaction) {
  EXPECT_THROW(pool_.transact([](mysql::Transaction& tx) {
    append(tx, {.topic = "t"});
    throw PermanentError("the business says no");
  }),
               PermanentError);

  EXPECT_EQ(count("TRUE"), 0u);
}

TEST_F(Append, KeepsEveryByte) {
  const std::string bytes("\0\xff\xc3'\\", 5);
  put({{.topic = "orders",
        .key = bytes,
        .payload = bytes,
        .headers = {{"traceparent", "00-1"}, {"b", bytes}, {"b", nullptr}},
        .id = bytes,
        .business_key = bytes + "b",
        .event_time = parse_rfc3339("2026-01-02T03:04:05.000006Z"),
        .relay = "billing"}});

  const auto row = pool_.transact([](mysql::Transaction& tx) {
    return *tx.query_row(
        "SELECT message_id, purpose, relay, shard, topic, message_key, business_key, event_time, "
        "payload, headers, status, attempts, sent_at FROM outbox_message");
  });
  EXPECT_EQ(row.get<std::string>("message_id"), bytes);
  EXPECT_EQ(row.get<std::string>("purpose"), "");
  EXPECT_EQ(row.get<std::string>("relay"), "billing");
  EXPECT_EQ(row.get<int>("shard"), shard_of(bytes, ""));
  EXPECT_EQ(row.get<Bytes>("message_key"), Bytes(bytes));
  EXPECT_EQ(row.get<Bytes>("business_key"), Bytes(bytes + "b"));
  EXPECT_EQ(row.get<Time>("event_time"), parse_rfc3339("2026-01-02T03:04:05.000006Z"));
  EXPECT_EQ(row.get<Bytes>("payload"), Bytes(bytes));
  EXPECT_EQ(decode_headers(row.get<std::string>("headers")),
            (Headers{{"traceparent", "00-1"}, {"b", bytes}, {"b", nullptr}}));
  EXPECT_EQ(row.get<std::string>("status"), "pending");
  EXPECT_EQ(row.get<int>("attempts"), 0);
}

TEST_F(Append, FillsInWhatTheDraftLeavesOpen) {
  put({{.topic = "t"}, {.topic = "t", .key = "", .payload = ""}});

  EXPECT_EQ(count("relay = 'main' AND business_key IS NULL AND LENGTH(message_id) = 36"), 2u);
  EXPECT_EQ(count("event_time = created_at AND available_at = created_at"), 2u);
  EXPECT_EQ(count("message_key IS NULL AND payload IS NULL"), 1u);
  EXPECT_EQ(count("message_key = '' AND payload = ''"), 1u);
}

TEST_F(Append, WaitsAsLongAsTheDraftSays) {
  put({{.topic = "t", .delay = 1500ms}});

  EXPECT_EQ(count("status = 'waiting' AND available_at = created_at + INTERVAL 1500000 MICROSECOND"), 1u);
}

TEST_F(Append, RefusesAnIdThatIsThereAlready) {
  put({{.topic = "t", .id = "m-1"}});

  try {
    put({{.topic = "t", .id = "m-1"}});
    FAIL();
  } catch (const mysql::MysqlError& error) {
    EXPECT_EQ(error.code(), 1062);
  }
}

TEST_F(AppendFailureRow, MayRepeatAnIdForAnotherPurpose) {
  FailureRow row{.message_id = "m-1",
                 .purpose = "retry:shipping:1:1",
                 .relay = "shipping",
                 .topic = "retry.shipping.orders",
                 .key = std::string(2'000, 'k'),
                 .business_key = "",
                 .payload = "p",
                 .headers = {{"om-attempt", "1"}},
                 .event_time = Time{},
                 .due = std::nullopt};
  put({{.topic = "orders", .id = "m-1"}});
  pool_.transact([&](mysql::Transaction& tx) {
    append_failure_row(tx, row);
    row.purpose = "retry:shipping:1:2";
    append_failure_row(tx, row);
  });

  EXPECT_EQ(count("message_id = 'm-1'"), 3u);
  EXPECT_EQ(count("relay = 'shipping' AND LENGTH(message_key) = 2000 AND status = 'pending'"), 2u);
}

TEST_F(AppendFailureRow, WaitsUntilItIsDueByTheDatabasesClock) {
  const Time now = parse_datetime(value("SELECT UTC_TIMESTAMP(6)"));
  const auto row = [](std::string id, Time due) {
    return FailureRow{.message_id = std::move(id),
                      .purpose = "dlq:c:1",
                      .relay = "c",
                      .topic = "t",
                      .key = nullptr,
                      .business_key = "",
                      .payload = nullptr,
                      .headers = {},
                      .event_time = due,
                      .due = due};
  };
  pool_.transact([&](mysql::Transaction& tx) {
    append_failure_row(tx, row("later", now + 60s));
    append_failure_row(tx, row("past", now - 60s));
  });

  EXPECT_EQ(count("message_id = 'later' AND status = 'waiting' AND available_at = event_time"), 1u);
  EXPECT_EQ(count("message_id = 'past' AND status = 'pending'"), 1u);
}

}  // namespace
}  // namespace oncemark::outbox
