// oncemark retry, and skip, as processes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <oncemark/inbox/dedup.hpp>

#include "support/letters.hpp"
#include "support/process.hpp"
#include "support/tool_environment.hpp"

namespace oncemark::testing {
namespace {

using namespace std::chrono_literals;
using nlohmann::json;
using ::testing::HasSubstr;

class RetryTest : public ::testing::Test {
 protected:
  /// Makes a message that waits an hour for its next attempt.
  void fail(const std::string& id, const std::string& error_class = "std::runtime_error") {
    dead_letter::Router router(pool_, {.retries = {.delays = {1h}}});
    const Message message = order_message(id);
    (void)router.route({.message = message,
                        .consumer = "shipping",
                        .group = "shipping-group",
                        .error = {.error_class = error_class, .text = "warehouse 17", .kind = ErrorKind::transient}});
  }
  Ended om(std::vector<std::string> flags, const std::map<std::string, std::string>& environment = {}) {
    flags.insert(flags.begin(), program());
    return run(std::move(flags), with(environment_of(schema_), environment));
  }
  std::uint64_t count(const std::string& sql) {
    return pool_.transact([&](mysql::Transaction& tx) { return tx.query(sql).at(0).get<std::uint64_t>(0); });
  }
  std::uint64_t in_state(const std::string& state) {
    return count("SELECT COUNT(*) FROM consumed_message WHERE state = '" + state + "'");
  }
  consume::Outcome deliver(const std::string& id) {
    inbox::Dedup dedup(pool_, {.consumer = "shipping", .effects = Effects::transaction},
                       [](const Message&, mysql::Transaction&) {});
    return dedup.handle(order_message(id));
  }

  TempSchema schema_{Tables::ours};
  mysql::Pool pool_{schema_.options()};
};

TEST_F(RetryTest, ListsWhatWaitsSoonestFirst) {
  fail("o-1");
  fail("o-2", "mysql.1205");

  const Ended ended = om({"retry", "list", "--consumer", "shipping", "--error-class", "mysql.1205", "--json"});

  ASSERT_EQ(ended.code, 0) << ended.err;
  const json message = json::parse(ended.out);
  EXPECT_EQ(message["business_key"], "o-2");
  EXPECT_EQ(message["attempt"], 1);
  EXPECT_EQ(message["outbox"], "waiting");
  EXPECT_EQ(message["error"]["text"], "warehouse 17");
  EXPECT_THAT(om({"retry", "list", "--consumer", "shipping"}).out, HasSubstr("o-1"));
}

TEST_F(RetryTest, HastensAnAttemptAndNeverDelaysOne) {
  fail("o-1");
  fail("o-2");
  EXPECT_EQ(om({"retry", "expedite", "--consumer", "shipping", "--key", "o-1"}).code, 6);

  EXPECT_EQ(om({"retry", "expedite", "--consumer", "shipping", "--key", "o-1", "--yes", "--reason", "it is up"}).code,
            0);

  EXPECT_EQ(count("SELECT COUNT(*) FROM outbox_message WHERE status = 'waiting' AND available_at <= UTC_TIMESTAMP(6)"),
            1u);
  EXPECT_EQ(count("SELECT COUNT(*) FROM failed_message WHERE due_at <= UTC_TIMESTAMP(6)"), 1u);
  EXPECT_EQ(
      count("SELECT COUNT(*) FROM replay_audit WHERE action = 'expedite' AND identity = 'o-1' AND reason = 'it is "
            "up' AND operator <> ''"),
      1u);
  EXPECT_EQ(om({"retry", "expedite", "--consumer", "shipping", "--key", "o-2", "--in", "2h", "-y"}).code, 3);
  EXPECT_EQ(count("SELECT COUNT(*) FROM outbox_message WHERE available_at > UTC_TIMESTAMP(6) + INTERVAL 61 MINUTE"),
            0u);
}

TEST_F(RetryTest, CancelsForGood) {
  fail("o-1");
  fail("o-2");

  EXPECT_EQ(om({"retry", "cancel", "--consumer", "shipping", "--key", "o-1", "-y"}).code, 0);

  EXPECT_EQ(in_state("discarded"), 1u);
  EXPECT_EQ(count("SELECT COUNT(*) FROM failed_message"), 1u);
  EXPECT_EQ(count("SELECT COUNT(*) FROM outbox_message"), 1u);
  EXPECT_EQ(deliver("o-1"), consume::Outcome::duplicate);
  EXPECT_EQ(om({"retry", "cancel", "--consumer", "shipping", "--key", "o-1", "-y"}).code, 0);  // nothing waits
}

TEST_F(RetryTest, CancelsIntoALetterThatCanBeReplayed) {
  fail("o-1");

  EXPECT_EQ(om({"retry", "cancel", "--consumer", "shipping", "--confirm", "shipping", "--as", "dead"}).code, 0);

  EXPECT_EQ(in_state("dead"), 1u);
  EXPECT_EQ(
      count("SELECT COUNT(*) FROM dead_letter WHERE state = 'dead' AND payload = 'payload of o-1' AND attempts = 1 "
            "AND dlq_topic = 'dlq.shipping-group.orders' AND error_text = 'warehouse 17'"),
      1u);
  EXPECT_EQ(count("SELECT COUNT(*) FROM outbox_message WHERE purpose = 'dlq:shipping:1' AND status = 'pending'"), 1u);
  EXPECT_EQ(count("SELECT COUNT(*) FROM outbox_message"), 1u);
  EXPECT_EQ(count("SELECT COUNT(*) FROM replay_audit WHERE action = 'cancel' AND outcome = 'dead' AND letter_id > 0"),
            1u);
}

TEST_F(RetryTest, SkipsAMessageThatHasNotArrivedYet) {
  EXPECT_EQ(om({"skip", "o-1", "--consumer", "shipping", "--yes"}).code, 0);

  EXPECT_EQ(deliver("o-1"), consume::Outcome::duplicate);
  EXPECT_EQ(deliver("o-2"), consume::Outcome::done);
  EXPECT_EQ(om({"skip", "o-1", "--consumer", "shipping", "--yes"}).code, 3);
  EXPECT_EQ(om({"skip", "o-2", "--consumer", "shipping", "--yes"}).code, 3);
  EXPECT_EQ(in_state("done"), 1u);
}

TEST_F(RetryTest, SkipsAMessageThatFailedAndOneThatDied) {
  fail("o-1");
  bury(pool_, order_message("o-2"));

  EXPECT_EQ(om({"skip", "o-1", "--consumer", "shipping", "--yes"}).code, 0);
  EXPECT_EQ(om({"skip", "o-2", "--consumer", "shipping", "--yes"}).code, 0);

  EXPECT_EQ(in_state("discarded"), 2u);
  EXPECT_EQ(count("SELECT COUNT(*) FROM failed_message"), 0u);
  EXPECT_EQ(count("SELECT COUNT(*) FROM dead_letter WHERE state = 'discarded'"), 1u);
}

/// A command over three messages that wait, and where it dies.
struct KilledHand {
  const char* name;
  std::vector<std::string> command;
  const char* fault;
  int code_again = 0;  // 3: what was hastened before is found, and left as it is
};

class KilledHandTest : public RetryTest, public ::testing::WithParamInterface<KilledHand> {
 protected:
  /// What holds whatever the command has done so far.
  void expect_each_message_in_one_state() {
    EXPECT_EQ(count("SELECT COUNT(*) FROM consumed_message"), 3u);
    EXPECT_EQ(in_state("retrying"), count("SELECT COUNT(*) FROM failed_message"));
    EXPECT_EQ(in_state("dead"), count("SELECT COUNT(*) FROM dead_letter"));
    EXPECT_EQ(in_state("retrying"), count("SELECT COUNT(*) FROM outbox_message WHERE purpose LIKE 'retry:%'"));
    EXPECT_EQ(in_state("dead"), count("SELECT COUNT(*) FROM outbox_message WHERE purpose LIKE 'dlq:%'"));
    EXPECT_EQ(in_state("dead") + in_state("discarded") + hastened(), count("SELECT COUNT(*) FROM replay_audit"));
    EXPECT_EQ(hastened(), count("SELECT COUNT(*) FROM failed_message WHERE due_at <= UTC_TIMESTAMP(6)"));
  }
  std::uint64_t hastened() {
    return count(
        "SELECT COUNT(*) FROM outbox_message WHERE purpose LIKE 'retry:%' AND available_at <= UTC_TIMESTAMP(6)");
  }
};

TEST_P(KilledHandTest, LeavesEachMessageInOneStateAndMayBeGivenAgain) {
  for (const char* id : {"o-1", "o-2", "o-3"}) fail(id);

  EXPECT_EQ(om(GetParam().command, {{"ONCEMARK_FAULT", GetParam().fault}}).code, 137);
  expect_each_message_in_one_state();
  EXPECT_EQ(om(GetParam().command).code, GetParam().code_again);

  expect_each_message_in_one_state();
  const bool is_skip = GetParam().command.front() == "skip";
  EXPECT_EQ(in_state("dead") + in_state("discarded") + hastened(), is_skip ? 1u : 3u);
}

const std::vector<std::string> kAll{"--consumer", "shipping", "--confirm", "shipping"};
std::vector<std::string> all(std::vector<std::string> verb, const std::vector<std::string>& more = {}) {
  verb.insert(verb.end(), kAll.begin(), kAll.end());
  verb.insert(verb.end(), more.begin(), more.end());
  return verb;
}
INSTANTIATE_TEST_SUITE_P(
    AtEachFailPoint, KilledHandTest,
    ::testing::Values(
        KilledHand{"CancelIntoLetters", all({"retry", "cancel"}, {"--as", "dead"}), "waiting.before_commit:kill@1"},
        KilledHand{"CancelIntoLettersHalfWay", all({"retry", "cancel"}, {"--as", "dead"}),
                   "waiting.before_commit:kill@3"},
        KilledHand{"CancelHalfWay", all({"retry", "cancel"}), "waiting.before_commit:kill@2"},
        KilledHand{"ExpediteHalfWay", all({"retry", "expedite"}), "waiting.before_commit:kill@2", 3},
        KilledHand{"Skip", {"skip", "o-2", "--consumer", "shipping", "--yes"}, "waiting.before_commit:kill@1"}),
    [](const auto& hand) { return std::string(hand.param.name); });

TEST_F(RetryTest, AResetMakesAMessageTakeEffectOnceMore) {
  ASSERT_EQ(deliver("o-1"), consume::Outcome::done);
  fail("o-2");
  const std::vector<std::string> reset{"dedup", "reset", "o-1", "o-2", "o-3", "--consumer", "shipping"};
  const auto with_flags = [&](std::vector<std::string> flags) {
    flags.insert(flags.begin(), reset.begin(), reset.end());
    return flags;
  };

  EXPECT_EQ(om(reset).code, 6) << "nobody has said yes";
  EXPECT_THAT(om(with_flags({"--dry-run"})).out, HasSubstr("o-1: would be forgotten"));
  EXPECT_EQ(om(with_flags({"--confirm=billing"})).code, 6);
  EXPECT_EQ(om(with_flags({"--confirm=shipping"}), {{"ONCEMARK_FAULT", "waiting.before_commit:kill"}}).code, 137);
  EXPECT_EQ(deliver("o-1"), consume::Outcome::duplicate) << "until then it is done";
  const std::uint64_t epoch = count("SELECT epoch FROM oncemark_schema LIMIT 1");
  const Ended ended = om(with_flags({"--confirm=shipping", "--reason", "restored"}));

  EXPECT_EQ(ended.code, 3) << ended.err;
  EXPECT_THAT(ended.out, HasSubstr("o-1: forgotten\no-2: skipped:retrying\no-3: skipped:no state row\n"));
  EXPECT_NE(count("SELECT epoch FROM oncemark_schema LIMIT 1"), epoch) << "hints in Redis are void";
  EXPECT_EQ(count("SELECT COUNT(*) FROM replay_audit WHERE action = 'dedup-reset' AND identity = 'o-1' AND reason = "
                  "'restored'"),
            1u);
  EXPECT_EQ(deliver("o-1"), consume::Outcome::done);
}

TEST_F(RetryTest, AResetThatDiesHalfWayLeavesNoHintThatCallsDoneWhatItForgot) {
  ASSERT_EQ(deliver("o-1"), consume::Outcome::done);
  ASSERT_EQ(deliver("o-2"), consume::Outcome::done);
  const std::uint64_t epoch = count("SELECT epoch FROM oncemark_schema LIMIT 1");

  EXPECT_EQ(om({"dedup", "reset", "o-1", "o-2", "--consumer", "shipping", "--confirm=shipping"},
               {{"ONCEMARK_FAULT", "waiting.before_commit:kill@2"}})
                .code,
            137);

  EXPECT_EQ(count("SELECT COUNT(*) FROM consumed_message WHERE message_key = 'o-1'"), 0u);
  EXPECT_NE(count("SELECT epoch FROM oncemark_schema LIMIT 1"), epoch);
  EXPECT_EQ(deliver("o-2"), consume::Outcome::duplicate);
}

}  // namespace
}  // namespace oncemark::testing
