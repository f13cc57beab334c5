#include <memory>
#include <thread>

#include <gtest/gtest.h>

#include <oncemark/core/error.hpp>
#include <oncemark/core/faults.hpp>
#include <oncemark/inbox/dedup.hpp>
#include <oncemark/inbox/redis_hint.hpp>
#include <oncemark/mysql/epoch.hpp>
#include <oncemark/testing/builders.hpp>

#include "support/eventually.hpp"
#include "support/private_redis.hpp"
#include "support/temp_schema.hpp"

namespace oncemark::inbox {
namespace {

using namespace std::chrono_literals;
using consume::Outcome;
using std::chrono::steady_clock;
using testing::eventually;
using testing::message_with_id;
using testing::pointers_to;
using testing::PrivateRedis;
using testing::Tables;
using testing::TempSchema;

class HintedDedupTest : public ::testing::Test {
 protected:
  static constexpr int kGroup = 20;

  HintedDedupTest() {
    pool_.acquire()->control("CREATE TABLE effect (id INT AUTO_INCREMENT PRIMARY KEY, message_id VARBINARY(255))");
    RedisHintOptions options{.redis = redis_.options(),
                             .epoch_interval = 1s,
                             .away = {.initial = 20ms, .factor = 2.0, .cap = 100ms, .jitter = 0.5}};
    options.redis.connect_timeout = options.redis.command_timeout = 200ms;
    hint_ = std::make_unique<RedisHint>(pool_, options);
    EXPECT_TRUE(eventually(20s, [&] { return hint_->epoch() != 0; }));
  }
  ~HintedDedupTest() override { faults::disarm(); }

  Dedup make_dedup(Trust trust = Trust::skip, Dedup::Effect effect = record) {
    return Dedup{pool_,
                 {.consumer = "shipping",
                  .effects = Effects::transaction,
                  .hint = hint_.get(),
                  .hint_use = {.trust = trust, .ask_above = 0}},
                 std::move(effect)};
  }
  static void record(const Message& message, mysql::Transaction& tx) {
    tx.execute("INSERT INTO effect (message_id) VALUES (?)", message.id);
  }
  std::int64_t count(const std::string& sql) {
    return pool_.transact([&](mysql::Transaction& tx) { return tx.query_row(sql)->get<std::int64_t>(0); });
  }
  std::int64_t effects() { return count("SELECT COUNT(*) FROM effect"); }
  void await_written(std::uint64_t marks) {
    ASSERT_TRUE(eventually(20s, [&] { return hint_->counts().written >= marks; }));
  }
  /// Group number `group`, handled; how many of it were done.
  static int deliver(Dedup& dedup, int group) {
    std::vector<Message> messages;
    for (int i = 0; i < kGroup; ++i) messages.push_back(message_with_id("o-" + std::to_string(group * kGroup + i)));
    const auto handled = dedup.handle(pointers_to(messages));
    EXPECT_EQ(handled.messages.size(), messages.size());
    int done = 0;
    for (const auto& settled : handled.messages) {
      EXPECT_FALSE(settled.failure);
      done += settled.outcome == Outcome::done ? 1 : 0;
    }
    return done;
  }
  /// Thirty groups, each of them twice, with something happening to Redis on the way: every message is done once.
  template <typename Trouble>
  void expect_each_once(Trouble&& trouble) {
    Dedup dedup = make_dedup();
    int done = 0;
    for (int group = 0; group < 30; ++group) {
      if (group == 10 || group == 20) trouble(group);
      done += deliver(dedup, group);
      done += deliver(dedup, group / 2);
    }
    EXPECT_EQ(done, 30 * kGroup);
    EXPECT_EQ(effects(), 30 * kGroup);
    EXPECT_EQ(count("SELECT COUNT(*) FROM consumed_message"), 30 * kGroup);
  }

  PrivateRedis redis_;
  TempSchema schema_{Tables::ours};
  mysql::Pool pool_{schema_.options()};
  std::unique_ptr<RedisHint> hint_;
};

TEST_F(HintedDedupTest, SettlesCopiesWithoutMySQL) {
  Dedup dedup = make_dedup();
  EXPECT_EQ(deliver(dedup, 0), kGroup);
  await_written(kGroup);
  pool_.acquire()->control("RENAME TABLE consumed_message TO away");

  EXPECT_EQ(deliver(dedup, 0), 0);

  pool_.acquire()->control("RENAME TABLE away TO consumed_message");
  EXPECT_EQ(effects(), kGroup);
}

TEST_F(HintedDedupTest, RemembersDuplicatesThatMySQLFound) {
  Dedup dedup = make_dedup();
  (void)deliver(dedup, 0);
  await_written(kGroup);
  (void)redis::Client(redis_.options()).command({"FLUSHALL"});

  (void)deliver(dedup, 0);
  await_written(2 * kGroup);
  EXPECT_EQ(redis::Client(redis_.options()).command({"DBSIZE"}).number, kGroup);
}

TEST_F(HintedDedupTest, IsRightWhenRedisIsFlushedOnTheWay) {
  redis::Client client(redis_.options());
  expect_each_once([&](int) { (void)client.command({"FLUSHALL"}); });
}

TEST_F(HintedDedupTest, IsRightWhenRedisIsKilledOnTheWay) {
  expect_each_once([&](int group) { group == 10 ? redis_.kill() : redis_.start(); });
}

TEST_F(HintedDedupTest, IsRightAndGoesOnWhenRedisHangsOnTheWay) {
  const auto begin = steady_clock::now();
  expect_each_once([&](int group) { group == 10 ? redis_.hang() : redis_.go_on(); });
  EXPECT_LT(steady_clock::now() - begin, 30s);
}

TEST_F(HintedDedupTest, IsRightWhenRedisEvicts) {
  (void)redis::Client(redis_.options()).command({"CONFIG", "SET", "maxmemory-policy", "allkeys-random"});
  expect_each_once([&](int) { (void)redis::Client(redis_.options()).command({"CONFIG", "SET", "maxmemory", "1mb"}); });
}

TEST_F(HintedDedupTest, AppliesAgainWhatARestoreTookBackOnceTheEpochIsNew) {
  Dedup dedup = make_dedup();
  (void)deliver(dedup, 0);
  await_written(kGroup);

  // The database as it was before: neither effects nor marks. Redis knows nothing of it.
  pool_.transact([](mysql::Transaction& tx) {
    tx.execute("DELETE FROM effect");
    tx.execute("DELETE FROM consumed_message");
  });
  EXPECT_EQ(deliver(dedup, 0), 0) << "this is what the epoch is for";
  const std::uint64_t epoch = mysql::draw_epoch(pool_);
  ASSERT_TRUE(eventually(20s, [&] { return hint_->epoch() == epoch; }));

  EXPECT_EQ(deliver(dedup, 0), kGroup);
  EXPECT_EQ(effects(), kGroup);
}

TEST_F(HintedDedupTest, AppliesUnderVerifyWhatRedisFalselyCallsDone) {
  Dedup dedup = make_dedup();
  (void)deliver(dedup, 0);
  await_written(kGroup);
  pool_.transact([](mysql::Transaction& tx) {
    tx.execute("DELETE FROM effect");
    tx.execute("DELETE FROM consumed_message");
  });

  Dedup careful = make_dedup(Trust::verify);
  EXPECT_EQ(deliver(careful, 0), kGroup);
  EXPECT_EQ(effects(), kGroup);
}

TEST_F(HintedDedupTest, RemembersNothingThatWasRolledBackOrIsInDoubt) {
  Dedup failing = make_dedup(Trust::skip, [](const Message& message, mysql::Transaction& tx) {
    record(message, tx);
    throw PermanentError("no");
  });
  EXPECT_THROW((void)failing.handle(message_with_id("rolled-back")), PermanentError);
  Dedup doubtful = make_dedup(Trust::skip, [&](const Message& message, mysql::Transaction& tx) {
    record(message, tx);
    const auto id = tx.query_row("SELECT CONNECTION_ID()")->get<std::uint64_t>(0);
    pool_.acquire()->control("KILL " + std::to_string(id));
  });
  EXPECT_THROW((void)doubtful.handle(message_with_id("in-doubt")), InDoubtError);

  Dedup dedup = make_dedup();
  (void)dedup.handle(message_with_id("good"));
  await_written(1);  // they would have been written before it
  EXPECT_EQ(redis::Client(redis_.options()).command({"DBSIZE"}).number, 1);
  EXPECT_EQ(dedup.handle(message_with_id("rolled-back")), Outcome::done);
  EXPECT_EQ(dedup.handle(message_with_id("in-doubt")), Outcome::done);
}

TEST_F(HintedDedupTest, AFailureBetweenCommitAndWriteLosesTheHintOnly) {
  Dedup dedup = make_dedup();
  faults::arm("hint.before_write:throw");
  EXPECT_EQ(dedup.handle(message_with_id("a")), Outcome::done);
  ASSERT_TRUE(eventually(20s, [&] { return hint_->counts().dropped == 1; }));

  EXPECT_EQ(redis::Client(redis_.options()).command({"DBSIZE"}).number, 0);
  EXPECT_EQ(dedup.handle(message_with_id("a")), Outcome::duplicate);  // MySQL knows
  EXPECT_EQ(effects(), 1);
}

}  // namespace
}  // namespace oncemark::inbox
