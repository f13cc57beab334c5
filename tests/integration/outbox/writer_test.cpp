#include <oncemark/outbox/append.hpp>

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

TEST_F(Append, AddsManyDraftsInTheirOrderAsItAddsOne) {
  std::vector<Draft> drafts;
  for (int i = 0; i < 1'500; ++i) {
    drafts.push_back({.topic = "t", .key = "k" + std::to_string(i % 7), .payload = std::to_string(i)});
  }
  drafts[3] = {.topic = "t", .id = "m-3", .business_key = "b-3", .delay = 1500ms, .relay = "billing"};
  const std::vector<std::string> ids = pool_.transact([&](mysql::Transaction& tx) { return append_all(tx, drafts); });
  put({drafts[4]});

  ASSERT_EQ(ids.size(), drafts.size());
  EXPECT_EQ(ids[3], "m-3");
  EXPECT_EQ(count("message_id = 'm-3' AND status = 'waiting' AND business_key = 'b-3' AND relay = 'billing' AND "
                  "available_at = created_at + INTERVAL 1500000 MICROSECOND"),
            1u);
  EXPECT_EQ(value("SELECT COUNT(*) FROM outbox_message a JOIN outbox_message b ON b.id > a.id AND a.message_key = "
                  "b.message_key WHERE CAST(CAST(b.payload AS CHAR) AS SIGNED) < CAST(CAST(a.payload AS CHAR) AS "
                  "SIGNED) AND b.id <= 1500"),
            "0");
  const auto one_of = [&](const std::string& which) {
    return value(
        "SELECT CONCAT_WS('|', purpose, relay, shard, topic, message_key, business_key IS NULL, payload, headers, "
        "status, available_at = created_at, event_time = created_at, sent_at = created_at, payload_hash) "
        "FROM outbox_message WHERE payload = '4' ORDER BY id " +
        which + " LIMIT 1");
  };
  EXPECT_EQ(one_of("ASC"), one_of("DESC"));
}

TEST_F(Append, AddsNoneOfManyWhenOneIsRefused) {
  pool_.transact([](mysql::Transaction& tx) {
    try {
      append_all(tx, std::vector<Draft>{{.topic = "t"}, {.topic = "not a topic"}});
      FAIL();
    } catch (const PermanentError& error) {
      EXPECT_THAT(error.what(), ::testing::HasSubstr("draft 1 of 2"));
    }
    EXPECT_THAT(append_all(tx, {}), ::testing::IsEmpty());
  });

  EXPECT_EQ(count("TRUE"), 0u);
}

TEST_F(Append, WaitsForATimeByTheDatabasesClock) {
  const Time now = parse_datetime(value("SELECT UTC_TIMESTAMP(6)"));
  pool_.transact([&](mysql::Transaction& tx) {
    append_at(tx, {.topic = "t", .id = "later"}, now + 1h);
    append_at(tx, {.topic = "t", .id = "past"}, now - 1h);
    EXPECT_THROW(append_at(tx, {.topic = "t", .delay = 1s}, now), PermanentError);
  });

  EXPECT_EQ(count("message_id = 'later' AND status = 'waiting' AND available_at BETWEEN created_at + INTERVAL 3590 "
                  "SECOND AND created_at + INTERVAL 3601 SECOND"),
            1u);
  EXPECT_EQ(count("message_id = 'past' AND status = 'pending'"), 1u);
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
