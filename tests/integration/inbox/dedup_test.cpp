#include <oncemark/inbox/dedup.hpp>

#include <thread>

#include <gtest/gtest.h>

#include <oncemark/core/error.hpp>
#include <oncemark/mysql/errors.hpp>
#include <oncemark/testing/builders.hpp>

#include "support/temp_schema.hpp"

namespace oncemark::inbox {
namespace {

using consume::Outcome;
using testing::message_with_id;
using testing::pointers_to;
using testing::Tables;
using testing::TempSchema;

class DedupTest : public ::testing::Test {
 protected:
  DedupTest() {
    pool_.acquire()->control("CREATE TABLE effect (message_id VARBINARY(255) NOT NULL)");
    pool_.acquire()->control("CREATE TABLE balance (id INT PRIMARY KEY, amount INT NOT NULL)");
    pool_.transact([](mysql::Transaction& tx) { tx.execute("INSERT INTO balance VALUES (1, 0), (2, 0)"); });
  }
  static void record(const Message& message, mysql::Transaction& tx) {
    tx.execute("INSERT INTO effect (message_id) VALUES (?)", message.id);
  }
  std::int64_t count(const std::string& sql) {
    return pool_.transact([&](mysql::Transaction& tx) { return tx.query_row(sql)->get<std::int64_t>(0); });
  }
  std::int64_t effects() { return count("SELECT COUNT(*) FROM effect"); }
  std::int64_t marks() { return count("SELECT COUNT(*) FROM consumed_message"); }

  const DedupOptions options_{.consumer = "shipping", .effects = Effects::transaction};
  TempSchema schema_{Tables::ours};
  mysql::Pool pool_{schema_.options()};
};

TEST_F(DedupTest, AppliesAnEffectOnce) {
  Dedup dedup{pool_, options_, record};
  dedup.prepare();

  EXPECT_EQ(dedup.handle(message_with_id("o-1")), Outcome::done);
  EXPECT_EQ(dedup.handle(message_with_id("o-1")), Outcome::duplicate);
  EXPECT_EQ(effects(), 1);
  EXPECT_EQ(marks(), 1);
}

TEST_F(DedupTest, KeepsNeitherMarkNorEffectWhenTheEffectThrows) {
  Dedup dedup{pool_, options_, [](const Message& message, mysql::Transaction& tx) {
                record(message, tx);
                throw PermanentError("no");
              }};

  EXPECT_THROW((void)dedup.handle(message_with_id("o-1")), PermanentError);
  EXPECT_EQ(effects(), 0);
  EXPECT_EQ(marks(), 0);
}

TEST_F(DedupTest, AppliesAnEffectOnceWhenManyThreadsRaceForIt) {
  Dedup dedup{pool_, options_, record};
  std::atomic<int> done{0};
  {
    std::vector<std::jthread> racers;
    for (int i = 0; i < 6; ++i) {
      racers.emplace_back([&] {
        while (true) {
          try {
            if (dedup.handle(message_with_id("o-1")) == Outcome::done) ++done;
            return;
          } catch (const mysql::MysqlError& error) {
            ASSERT_TRUE(error.is_contention()) << error.what();
          }
        }
      });
    }
  }

  EXPECT_EQ(done, 1);
  EXPECT_EQ(effects(), 1);
}

TEST_F(DedupTest, CommitsTheRestOfAGroupWhoseMemberFails) {
  Dedup dedup{pool_, options_, [](const Message& message, mysql::Transaction& tx) {
                record(message, tx);
                if (message.id == "poison") throw PermanentError("no");
              }};
  const std::vector<Message> group{message_with_id("a"), message_with_id("poison"), message_with_id("b"),
                                   message_with_id("a")};

  const auto settled = dedup.handle(pointers_to(group)).messages;

  ASSERT_EQ(settled.size(), 4u);
  EXPECT_EQ(settled[0].outcome, Outcome::done);
  EXPECT_TRUE(settled[1].failure);
  EXPECT_EQ(settled[2].outcome, Outcome::done);
  EXPECT_EQ(settled[3].outcome, Outcome::duplicate);
  EXPECT_EQ(effects(), 2);
  EXPECT_EQ(marks(), 2);  // the failed one's claim was given back
}

TEST_F(DedupTest, BlamesTheMessageWhoseDeferredRowIsRefused) {
  pool_.acquire()->control("CREATE TABLE booked (message_id VARBINARY(255) PRIMARY KEY)");
  pool_.transact([](mysql::Transaction& tx) { tx.execute("INSERT INTO booked VALUES ('taken')"); });
  const auto booked = mysql::DeferredStatement::insert("INSERT INTO booked (message_id)");
  const auto balance = mysql::DeferredStatement::update(
      "UPDATE balance AS b JOIN {rows} AS v ON b.id = v.id SET b.amount = b.amount + v.amount", {"id", "amount"}, 1);
  Dedup dedup{pool_, options_, [&](const Message& message, mysql::Transaction& tx) {
                tx.defer(balance, 1, 10);
                tx.defer(booked, message.id);
              }};
  const std::vector<Message> group{message_with_id("a"), message_with_id("taken"), message_with_id("b")};

  const auto settled = dedup.handle(pointers_to(group)).messages;

  ASSERT_EQ(settled.size(), 3u);
  EXPECT_FALSE(settled[0].failure);
  EXPECT_TRUE(settled[1].failure);
  EXPECT_FALSE(settled[2].failure);
  EXPECT_EQ(count("SELECT amount FROM balance WHERE id = 1"), 20);  // nothing of the refused one
  EXPECT_EQ(count("SELECT COUNT(*) FROM booked"), 3);
  EXPECT_EQ(marks(), 2);
}

TEST_F(DedupTest, CommitsDeferredRowsWithTheMarkOfTheirMessage) {
  const auto effect = mysql::DeferredStatement::insert("INSERT INTO effect (message_id)");
  Dedup dedup{pool_, options_, [&](const Message& message, mysql::Transaction& tx) { tx.defer(effect, message.id); }};
  const std::vector<Message> group{message_with_id("a"), message_with_id("b"), message_with_id("a")};

  (void)dedup.handle(pointers_to(group));
  (void)dedup.handle(message_with_id("c"));
  (void)dedup.handle(pointers_to(group));

  EXPECT_EQ(effects(), 3);
}

TEST_F(DedupTest, StopsAGroupAtAnOutageAndKeepsWhatCameBefore) {
  Dedup dedup{pool_, options_, [](const Message& message, mysql::Transaction& tx) {
                record(message, tx);
                if (message.id == "outage") throw UnavailableError("the warehouse is down");
              }};
  const std::vector<Message> group{message_with_id("a"), message_with_id("outage"), message_with_id("b")};

  const auto settled = dedup.handle(pointers_to(group)).messages;

  ASSERT_EQ(settled.size(), 2u);
  EXPECT_FALSE(settled[0].failure);
  EXPECT_TRUE(settled[1].failure);
  EXPECT_EQ(effects(), 1);
  EXPECT_EQ(marks(), 1);
}

TEST_F(DedupTest, BlamesALostLockAndNotTheMessageWhenTheEffectSwallowsIt) {
  mysql::PoolOptions impatient = schema_.options();
  impatient.lock_wait_timeout = std::chrono::seconds(1);
  mysql::Pool pool{impatient};
  auto connection = pool_.acquire();
  mysql::UnitOfWork holder(*connection);
  holder.tx().execute("UPDATE balance SET amount = 1 WHERE id = 1");
  Dedup dedup{pool, options_, [](const Message& message, mysql::Transaction& tx) {
                try {
                  tx.execute("UPDATE balance SET amount = 2 WHERE id = 1");
                } catch (const std::exception&) {  // swallowed, as careless code does
                }
                try {
                  record(message, tx);
                } catch (const std::exception&) {
                }
                throw PermanentError("the order is broken");
              }};

  try {
    (void)dedup.handle(message_with_id("o-1"));
    FAIL() << "nothing was thrown";
  } catch (const mysql::MysqlError& error) {
    EXPECT_EQ(error.code(), 1205);
  }
  EXPECT_EQ(effects(), 0);
  EXPECT_EQ(marks(), 0);
}

TEST_F(DedupTest, KeepsNothingOfATransactionWhoseConnectionIsKilled) {
  Dedup dedup{pool_, options_, [&](const Message& message, mysql::Transaction& tx) {
                record(message, tx);
                const auto id = tx.query_row("SELECT CONNECTION_ID()")->get<std::uint64_t>(0);
                pool_.acquire()->control("KILL " + std::to_string(id));
              }};

  EXPECT_THROW((void)dedup.handle(message_with_id("o-1")), InDoubtError);
  EXPECT_EQ(effects(), 0);
  EXPECT_EQ(marks(), 0);
}

TEST_F(DedupTest, RefusesToStartWithoutItsTables) {
  const TempSchema bare{Tables::none};
  mysql::Pool pool{bare.options()};
  Dedup dedup{pool, options_, record};

  try {
    dedup.prepare();
    FAIL() << "nothing was thrown";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::misuse);
    EXPECT_NE(std::string(error.what()).find("oncemark schema apply"), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace oncemark::inbox
