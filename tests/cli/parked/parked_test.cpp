// oncemark parked, and what other verbs do to parked messages, as processes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <oncemark/ledger/parked.hpp>

#include "support/letters.hpp"
#include "support/process.hpp"
#include "support/tool_environment.hpp"

namespace oncemark::testing {
namespace {

using namespace std::chrono_literals;
using nlohmann::json;
using ::testing::HasSubstr;

class ParkedCommandTest : public ::testing::Test {
 protected:
  static Message message_of(const std::string& id, const std::string& key) {
    Message message = order_message(id);
    message.key = key;
    return message;
  }
  /// A head that is dead, so that its key is stopped, or that waits for an hour.
  void park(const std::string& id, const std::string& key, bool is_dead) {
    dead_letter::Router router(pool_, {.retries = {.delays = {1h}, .order = retry::Order::by_key}});
    const Message message = message_of(id, key);
    (void)router.route({.message = message,
                        .consumer = "shipping",
                        .group = "shipping-group",
                        .error = {.error_class = is_dead ? "permanent" : "std::runtime_error",
                                  .text = "warehouse 17",
                                  .kind = is_dead ? ErrorKind::permanent : ErrorKind::transient}});
  }
  void follow(const std::string& id, const std::string& key) {
    const Message message = message_of(id, key);
    const Message* const messages[] = {&message};
    pool_.transact([&](mysql::Transaction& tx) {
      (void)ledger::claim_as_parked(tx, "shipping", messages);
      (void)ledger::append_parked(tx, "shipping", "shipping-group", key, messages, 100);
    });
  }
  Ended om(std::vector<std::string> flags, const std::map<std::string, std::string>& environment = {}) {
    flags.insert(flags.begin(), program());
    return run(std::move(flags), with(environment_of(schema_), environment));
  }
  std::uint64_t count(const std::string& sql) {
    return pool_.transact([&](mysql::Transaction& tx) { return tx.query(sql).at(0).get<std::uint64_t>(0); });
  }

  TempSchema schema_{Tables::ours};
  mysql::Pool pool_{schema_.options()};
};

TEST_F(ParkedCommandTest, ListsKeysAndWhatWaitsUnderOne) {
  park("o-1", "acct-1", true);
  follow("o-2", "acct-1");
  park("o-3", "acct-2", false);

  const Ended stopped = om({"parked", "list", "--consumer", "shipping", "--stopped", "--json"});
  ASSERT_EQ(stopped.code, 0) << stopped.err;
  const json key = json::parse(stopped.out);
  EXPECT_EQ(key["key"], "acct-1");
  EXPECT_EQ(key["state"], "stopped");
  EXPECT_EQ(key["messages"], 2);
  EXPECT_TRUE(key["due_at"].is_null());
  EXPECT_THAT(om({"parked", "list", "--consumer", "shipping"}).out, HasSubstr("acct-2  waiting"));

  const std::string messages = om({"parked", "list", "--consumer", "shipping", "--key", "acct-1", "--json"}).out;
  const json head = json::parse(messages.substr(0, messages.find('\n')));
  EXPECT_EQ(head["state"], "dead");
  EXPECT_EQ(head["business_key"], "o-1");
  EXPECT_GT(head["letter"], 0);
  EXPECT_EQ(head["error"]["text"], "warehouse 17");
  const json follower = json::parse(messages.substr(messages.find('\n') + 1));
  EXPECT_EQ(follower["state"], "parked");
  EXPECT_EQ(follower["attempt"], 0);
  EXPECT_THAT(om({"parked", "list", "--consumer", "billing"}).err, HasSubstr("has parked messages"));
}

TEST_F(ParkedCommandTest, ReleasesStoppedKeysOnly) {
  park("o-1", "acct-1", true);
  follow("o-2", "acct-1");
  park("o-3", "acct-2", false);
  EXPECT_EQ(om({"parked", "release", "--consumer", "shipping"}).code, 6);
  EXPECT_EQ(om({"parked", "release", "--consumer", "shipping", "--dry-run"}).out, "Would release 1 key.\n");

  const Ended ended = om({"parked", "release", "--consumer", "shipping", "--key", "acct-1", "--yes", "--reason", "x"});

  EXPECT_EQ(ended.code, 0) << ended.err;
  EXPECT_EQ(ended.out, "Released: 1 of 1 key.\n");
  EXPECT_EQ(count("SELECT COUNT(*) FROM parked_key WHERE order_key = 'acct-1' AND head_key = 'o-2' AND depth = 1 AND "
                  "due_at <= UTC_TIMESTAMP(6)"),
            1u);
  EXPECT_EQ(count("SELECT COUNT(*) FROM consumed_message WHERE state = 'dead'"), 1u);
  EXPECT_EQ(count("SELECT COUNT(*) FROM replay_audit WHERE action = 'release' AND reason = 'x'"), 1u);
  EXPECT_EQ(om({"parked", "release", "--consumer", "shipping", "--key", "acct-2", "--yes"}).code, 0);
  EXPECT_EQ(count("SELECT COUNT(*) FROM parked_key WHERE order_key = 'acct-2'"), 1u);
}

TEST_F(ParkedCommandTest, AReplayOfAStoppedHeadSaysThatItGoesOnInItsPlace) {
  park("o-1", "acct-1", true);
  const std::vector<std::string> command{"dlq", "run", "--consumer", "shipping", "--message-id", "o-1"};

  auto dry = command;
  dry.push_back("--dry-run");
  EXPECT_THAT(om(dry).out, HasSubstr("to     their places at the head of stopped keys  (1, in order)"));
  auto real = command;
  real.push_back("--yes");
  EXPECT_EQ(om(real).code, 0);

  EXPECT_EQ(count("SELECT COUNT(*) FROM consumed_message WHERE state = 'parked' AND life = 2 AND attempt = 0"), 1u);
  EXPECT_EQ(count("SELECT COUNT(*) FROM parked_key WHERE due_at <= UTC_TIMESTAMP(6)"), 1u);
  EXPECT_EQ(count("SELECT COUNT(*) FROM outbox_message WHERE purpose LIKE 'retry:%'"), 0u);
  EXPECT_EQ(count("SELECT COUNT(*) FROM dead_letter WHERE state = 'replaying'"), 1u);
}

TEST_F(ParkedCommandTest, SkipTakesAMessageOutOfItsSequence) {
  park("o-1", "acct-1", false);
  follow("o-2", "acct-1");
  follow("o-3", "acct-1");

  EXPECT_EQ(om({"skip", "o-2", "--consumer", "shipping", "--yes"}).code, 0);
  EXPECT_EQ(count("SELECT depth FROM parked_key"), 2u);
  EXPECT_EQ(om({"skip", "o-1", "--consumer", "shipping", "--yes"}).code, 0);

  EXPECT_EQ(count("SELECT COUNT(*) FROM parked_key WHERE head_key = 'o-3' AND due_at <= UTC_TIMESTAMP(6)"), 1u);
  EXPECT_EQ(count("SELECT COUNT(*) FROM consumed_message WHERE state = 'discarded'"), 2u);
}

class KilledReleaseTest : public ParkedCommandTest, public ::testing::WithParamInterface<const char*> {};

TEST_P(KilledReleaseTest, LeavesEachKeyStoppedOrReleased) {
  for (const std::string n : {"1", "2", "3"}) {
    park("o-" + n, "acct-" + n, true);
    follow("f-" + n, "acct-" + n);
  }
  const std::vector<std::string> command{"parked", "release", "--consumer", "shipping", "--confirm", "shipping"};

  EXPECT_EQ(om(command, {{"ONCEMARK_FAULT", GetParam()}}).code, 137);
  EXPECT_EQ(count("SELECT COUNT(*) FROM parked_key WHERE due_at IS NOT NULL"),
            count("SELECT COUNT(*) FROM replay_audit"));
  EXPECT_EQ(count("SELECT SUM(depth) FROM parked_key"), count("SELECT COUNT(*) FROM parked_message"));
  EXPECT_EQ(om(command).code, 0);

  EXPECT_EQ(count("SELECT COUNT(*) FROM parked_key WHERE head_key LIKE 'f-%' AND due_at IS NOT NULL"), 3u);
  EXPECT_EQ(count("SELECT COUNT(*) FROM replay_audit WHERE action = 'release'"), 3u);
}

INSTANTIATE_TEST_SUITE_P(AtEachFailPoint, KilledReleaseTest,
                         ::testing::Values("waiting.before_commit:kill@1", "waiting.before_commit:kill@3"));

}  // namespace
}  // namespace oncemark::testing
