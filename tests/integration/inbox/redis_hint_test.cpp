#include <oncemark/inbox/redis_hint.hpp>

#include <algorithm>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <oncemark/core/faults.hpp>
#include <oncemark/mysql/epoch.hpp>
#include <oncemark/observe/log.hpp>
#include <oncemark/redis/errors.hpp>

#include "support/eventually.hpp"
#include "support/private_redis.hpp"
#include "support/temp_schema.hpp"

namespace oncemark::inbox {
namespace {

using namespace std::chrono_literals;
using std::chrono::steady_clock;
using ::testing::ElementsAre;
using testing::eventually;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using testing::PrivateRedis;
using testing::Tables;
using testing::TempSchema;

const SeenMark kA{.business_key = "a", .payload_hash = 17};
const SeenMark kB{.business_key = "b", .payload_hash = 18};

class RedisHintTest : public ::testing::Test {
 protected:
  RedisHintOptions options() const {
    return {.redis = redis_.options(),
            .epoch_interval = 1s,  // believed for three of them: a busy machine is no outage
            .away = {.initial = 20ms, .factor = 2.0, .cap = 100ms, .jitter = 0.5}};
  }
  /// A hint that has read its epoch.
  std::unique_ptr<RedisHint> make_hint(const RedisHintOptions& options) {
    auto hint = std::make_unique<RedisHint>(pool_, options);
    EXPECT_TRUE(eventually(20s, [&] { return hint->epoch() != 0; }));
    return hint;
  }
  std::unique_ptr<RedisHint> make_hint() { return make_hint(options()); }

  static std::vector<bool> look(RedisHint& hint, std::vector<SeenMark> marks) { return hint.seen("shipping", marks); }
  static void remember(RedisHint& hint, std::vector<SeenMark> marks) { hint.remember("shipping", hint.epoch(), marks); }
  static void remember_and_wait(RedisHint& hint, const std::vector<SeenMark>& marks) {
    const std::uint64_t before = hint.counts().written;
    remember(hint, marks);
    ASSERT_TRUE(eventually(20s, [&] { return hint.counts().written == before + marks.size(); }));
  }

  PrivateRedis redis_;
  TempSchema schema_{Tables::ours};
  mysql::Pool pool_{schema_.options()};
};

TEST_F(RedisHintTest, TellsOtherInstancesWhatIsDone) {
  const auto hint = make_hint();
  remember_and_wait(*hint, {kA});

  const auto other = make_hint();
  EXPECT_THAT(look(*other, {kA, kB}), ElementsAre(true, false));
  EXPECT_THAT(look(*other, {{.business_key = "a", .payload_hash = 18}}), ElementsAre(false));  // a key conflict
  EXPECT_THAT(other->seen("billing", std::vector{kA}), ElementsAre(false));
}

TEST_F(RedisHintTest, ItsKeysNameEpochConsumerAndMessageAndExpire) {
  const auto hint = make_hint();
  const std::string binary("\0 \r\n*:\xff", 7);
  remember_and_wait(*hint, {{.business_key = binary, .payload_hash = 17}});

  char epoch[17];
  std::snprintf(epoch, sizeof epoch, "%016lx", mysql::read_epoch(pool_));
  redis::Client client(redis_.options());
  const std::string key = "om:" + std::string(epoch) + ":shipping:" + binary;
  EXPECT_EQ(client.command({"GET", key}).text, "17");
  const std::int64_t left = client.command({"TTL", key}).number;
  EXPECT_GT(left, 86'000);
  EXPECT_LE(left, 86'400);
}

TEST_F(RedisHintTest, ANewEpochVoidsAllOfIt) {
  const auto hint = make_hint();
  remember_and_wait(*hint, {kA});
  EXPECT_THAT(look(*hint, {kA}), ElementsAre(true));

  const std::uint64_t before = hint->epoch();
  const std::uint64_t drawn = mysql::draw_epoch(pool_);  // as after a restore
  ASSERT_TRUE(eventually(20s, [&] { return hint->epoch() == drawn; }));
  EXPECT_THAT(look(*hint, {kA}), ElementsAre(false));

  // What a transaction that began before has to tell goes to where nobody looks any more.
  const std::uint64_t written = hint->counts().written;
  hint->remember("shipping", before, std::vector{kA});
  ASSERT_TRUE(eventually(20s, [&] { return hint->counts().written == written + 1; }));
  EXPECT_THAT(look(*hint, {kA}), ElementsAre(false));
}

TEST_F(RedisHintTest, KnowsNothingWhileTheEpochCannotBeRead) {
  const auto hint = make_hint();
  remember_and_wait(*hint, {kA});

  pool_.acquire()->control("RENAME TABLE oncemark_schema TO away");
  ASSERT_TRUE(eventually(20s, [&] { return hint->epoch() == 0; }));
  EXPECT_THAT(look(*hint, {kA}), IsEmpty());

  pool_.acquire()->control("RENAME TABLE away TO oncemark_schema");
  ASSERT_TRUE(eventually(20s, [&] { return hint->epoch() != 0; }));
  EXPECT_THAT(look(*hint, {kA}), ElementsAre(true));
}

TEST_F(RedisHintTest, GoesOnAfterAFlush) {
  const auto hint = make_hint();
  remember_and_wait(*hint, {kA});

  (void)redis::Client(redis_.options()).command({"FLUSHALL"});
  EXPECT_THAT(look(*hint, {kA}), ElementsAre(false));
  remember_and_wait(*hint, {kA});
  EXPECT_THAT(look(*hint, {kA}), ElementsAre(true));
  EXPECT_EQ(hint->counts().errors, 0u);
}

TEST_F(RedisHintTest, IsOutOfTheWayWhileRedisIsDeadAndComesBackByItself) {
  const auto hint = make_hint();
  redis_.kill();

  for (int i = 0; i < 3; ++i) EXPECT_THAT(look(*hint, {kA}), IsEmpty());
  EXPECT_TRUE(hint->counts().is_away);
  EXPECT_EQ(hint->counts().openings, 1u);
  remember(*hint, {kA});
  EXPECT_EQ(hint->counts().dropped, 1u);

  redis_.start();
  ASSERT_TRUE(eventually(20s, [&] { return !hint->counts().is_away; }));
  remember_and_wait(*hint, {kA});
  EXPECT_THAT(look(*hint, {kA}), ElementsAre(true));
}

TEST_F(RedisHintTest, AHangingRedisCostsALaneAFewTimeOutsAndNoMore) {
  RedisHintOptions impatient = options();
  impatient.redis.connect_timeout = impatient.redis.command_timeout = 50ms;
  impatient.away.initial = impatient.away.cap = 60s;
  const auto hint = make_hint(impatient);
  EXPECT_THAT(look(*hint, {kA}), ElementsAre(false));
  redis_.hang();
  const auto begin = steady_clock::now();

  for (int i = 0; i < 10'000; ++i) EXPECT_THAT(look(*hint, {kA}), IsEmpty());

  EXPECT_LT(steady_clock::now() - begin, 2s);
  EXPECT_TRUE(hint->counts().is_away);
  EXPECT_EQ(hint->counts().errors, 3u);
  redis_.go_on();
}

TEST_F(RedisHintTest, DropsWhatItCannotWriteInTimeAndNeverBlocks) {
  RedisHintOptions small = options();
  small.max_queued = 100;
  small.failures = 1'000;
  small.redis.connect_timeout = small.redis.command_timeout = 200ms;
  const auto hint = make_hint(small);
  redis_.hang();
  const auto begin = steady_clock::now();

  for (int i = 0; i < 10'000; ++i) remember(*hint, {kA});

  EXPECT_LT(steady_clock::now() - begin, 2s);
  EXPECT_GE(hint->counts().dropped, 10'000u - 100u - 256u);  // the queue, and a batch that is on its way
  redis_.go_on();
}

TEST_F(RedisHintTest, WritesWhatIsQueuedBeforeItEnds) {
  std::vector<std::string> keys;
  std::vector<SeenMark> marks;
  for (int i = 0; i < 2'000; ++i) keys.push_back("k" + std::to_string(i));
  for (const std::string& key : keys) marks.push_back({.business_key = key, .payload_hash = 1});
  remember(*make_hint(), marks);

  EXPECT_THAT(look(*make_hint(), marks), ::testing::Each(true));
}

TEST_F(RedisHintTest, AFullRedisLosesHintsOnly) {
  const PrivateRedis full({"--maxmemory", "1500kb", "--maxmemory-policy", "noeviction"});
  RedisHintOptions on_full = options();
  on_full.redis = full.options();
  const auto hint = make_hint(on_full);
  const std::string padding(400, 'x');

  ASSERT_TRUE(eventually(20s, [&] {
    for (int i = 0; i < 200; ++i) {
      const std::string key = padding + std::to_string(hint->counts().written) + "." + std::to_string(i);
      remember(*hint, {{.business_key = key, .payload_hash = 1}});
    }
    return hint->counts().errors > 0;
  }));
  EXPECT_GT(hint->counts().dropped, 0u);
  EXPECT_FALSE(hint->counts().is_away);  // it can still be asked
  EXPECT_THAT(look(*hint, {kA, kB}), ElementsAre(false, false));
}

TEST_F(RedisHintTest, AnEvictingRedisForgetsAndNeverFails) {
  const PrivateRedis evicting({"--maxmemory", "1500kb", "--maxmemory-policy", "allkeys-lru"});
  RedisHintOptions on_evicting = options();
  on_evicting.redis = evicting.options();
  const auto hint = make_hint(on_evicting);
  const std::string padding(400, 'x');

  std::vector<std::string> keys;
  for (int i = 0; i < 4'000; ++i) keys.push_back(padding + std::to_string(i));
  std::vector<SeenMark> marks;
  for (const std::string& key : keys) marks.push_back({.business_key = key, .payload_hash = 1});
  for (std::size_t first = 0; first < marks.size(); first += 200) {
    remember_and_wait(*hint, {marks.begin() + static_cast<std::ptrdiff_t>(first),
                              marks.begin() + static_cast<std::ptrdiff_t>(first + 200)});
  }

  // Which of them Redis forgets is chance: its clock counts seconds, and it evicts by samples.
  const auto seen = look(*hint, marks);
  ASSERT_EQ(seen.size(), marks.size());
  EXPECT_LT(std::ranges::count(seen, true), 3'000) << "1.5 MB cannot hold them";
  EXPECT_EQ(hint->counts().errors, 0u);
}

/// Keeps what is logged.
class Listener final : public LogSink {
 public:
  void write(LogLevel, std::string_view text, const std::vector<LogField>& fields) noexcept override {
    const std::lock_guard lock(mutex_);
    text_ += text;
    for (const LogField& field : fields) text_ += " " + field.key + "=" + field.value;
  }
  std::string text() const {
    const std::lock_guard lock(mutex_);
    return text_;
  }

 private:
  mutable std::mutex mutex_;
  std::string text_;  // guarded by mutex_
};

TEST_F(RedisHintTest, AWrongPasswordIsLoggedWithItsCureAndStopsNobody) {
  const auto listener = std::make_shared<Listener>();
  set_log_sink(listener);
  RedisHintOptions wrong = options();
  wrong.redis = testing::Stack::redis();
  wrong.redis.password_file.clear();
  wrong.redis.password = "s3cret";
  {
    const auto hint = make_hint(wrong);
    for (int i = 0; i < 3; ++i) EXPECT_THAT(look(*hint, {kA}), IsEmpty());
    EXPECT_TRUE(hint->counts().is_away);
  }
  set_log_sink(nullptr);

  EXPECT_THAT(listener->text(), HasSubstr("redis.WRONGPASS"));
  EXPECT_THAT(listener->text(), HasSubstr("check user and password_file"));
  EXPECT_THAT(listener->text(), Not(HasSubstr("s3cret")));
}

TEST_F(RedisHintTest, NeedsNoOtherRightsThanItsOwnKeysAndTwoCommands) {
  (void)redis::Client(redis_.options())
      .command({"ACL", "SETUSER", "hint", "on", ">p", "resetkeys", "~om:*", "-@all", "+mget", "+set"});
  RedisHintOptions limited = options();
  limited.redis.user = "hint";
  limited.redis.password = "p";
  const auto hint = make_hint(limited);

  remember_and_wait(*hint, {kA});
  EXPECT_THAT(look(*hint, {kA}), ElementsAre(true));
}

TEST_F(RedisHintTest, AFailureOnTheWayToRedisLosesTheHintOnly) {
  const auto hint = make_hint();
  faults::arm("hint.before_write:throw");
  remember(*hint, {kA});
  ASSERT_TRUE(eventually(20s, [&] { return hint->counts().dropped == 1; }));
  faults::disarm();

  EXPECT_THAT(look(*hint, {kA}), ElementsAre(false));
  remember_and_wait(*hint, {kB});
  EXPECT_THAT(look(*hint, {kB}), ElementsAre(true));
}

}  // namespace
}  // namespace oncemark::inbox
