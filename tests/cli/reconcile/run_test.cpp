// reconcile as a process: what it finds, what it repairs, and what is true after it was killed.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <oncemark/dead_letter/router.hpp>

#include "support/eventually.hpp"
#include "support/letters.hpp"
#include "support/process.hpp"
#include "support/tool_environment.hpp"
#include "support/two_sides.hpp"

namespace oncemark::testing {
namespace {

using namespace std::chrono_literals;
using nlohmann::json;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::UnorderedElementsAre;

class ReconcileTest : public ::testing::Test {
 protected:
  Ended reconcile(std::vector<std::string> words, const std::map<std::string, std::string>& changes = {}) {
    words.insert(words.begin(), program("reconcile"));
    return run(std::move(words), with(environment_of(schema_), changes));
  }
  /// "kind key" of every difference.
  std::vector<std::string> found(std::vector<std::string> words = {}) {
    words.insert(words.begin(), {"run", "--json"});
    const Ended ended = reconcile(std::move(words));
    std::vector<std::string> all;
    std::istringstream lines(ended.out);
    for (std::string line; std::getline(lines, line);) {
      const json one = json::parse(line);
      if (one["event"] != "difference") continue;
      all.push_back(one["difference"].get<std::string>() + " " + one["business_key"].get<std::string>());
    }
    EXPECT_EQ(ended.code, all.empty() ? 0 : 4) << ended.err;
    return all;
  }
  std::int64_t count(const std::string& what) {
    return pool_.transact(
        [&](mysql::Transaction& tx) { return tx.query("SELECT COUNT(*) FROM " + what).at(0).get<std::int64_t>(0); });
  }
  void execute(const std::string& sql) {
    pool_.transact([&](mysql::Transaction& tx) { tx.execute(sql); });
  }
  /// A message in `retrying` whose retry was sent two hours ago, and lost.
  void lose_a_retry(const std::string& id) {
    dead_letter::Router router(pool_, {.retries = {.delays = {1s}}});
    (void)router.route({.message = order_message(id),
                        .consumer = "shipping",
                        .group = "shipping",
                        .error = {.error_class = "timeout", .text = "not yet", .kind = ErrorKind::transient}});
    execute(
        "UPDATE outbox_message SET status = 'sent', sent_at = UTC_TIMESTAMP(6) - INTERVAL 2 HOUR WHERE purpose <> ''");
    execute("UPDATE failed_message SET due_at = UTC_TIMESTAMP(6) - INTERVAL 2 HOUR");
  }
  /// One of every kind, among a hundred messages that are in order.
  void plant_all() {
    for (int i = 130; i > 30; --i) insert_both(pool_, {.id = "ok-" + std::to_string(i), .minutes_ago = i});
    insert_sent(pool_, {.id = "lost"});
    insert_settled(pool_, {.id = "forged"});
    insert_both(pool_, {.id = "twice-1", .business_key = "twice"});
    insert_sent(pool_, {.id = "twice-2", .business_key = "twice", .payload = "other", .minutes_ago = 40});
    insert_sent(pool_, {.id = "refused", .status = "dead"});
    bury_aged("given-up");
    bury_aged("replayed");
    ASSERT_EQ(run({program("dlq-replay"), "run", "--consumer", "shipping", "--message-id", "replayed", "--yes"},
                  environment_of(schema_))
                  .code,
              0);
    execute(
        "UPDATE outbox_message SET status = 'sent', sent_at = UTC_TIMESTAMP(6) - INTERVAL 2 HOUR WHERE purpose <> ''");
    execute("UPDATE failed_message SET due_at = UTC_TIMESTAMP(6) - INTERVAL 2 HOUR");
  }
  void bury_aged(const std::string& id) {
    insert_sent(pool_, {.id = id, .payload = "payload of " + id});
    (void)bury(pool_, order_message(id));
    execute(
        "UPDATE consumed_message c JOIN outbox_message o ON o.message_id = c.message_id AND o.purpose = '' SET "
        "c.event_time = o.event_time");
  }

  TempSchema schema_{Tables::ours};
  mysql::Pool pool_{schema_.options()};
};

TEST_F(ReconcileTest, IsSilentWhenBothSidesAgree) {
  for (int i = 160; i > 20; i -= 7) insert_both(pool_, {.id = "m-" + std::to_string(i), .minutes_ago = i});
  insert_both(pool_, {.id = "k-1", .business_key = "order-1"});
  insert_sent(pool_, {.id = "k-2", .business_key = "order-1", .minutes_ago = 30});  // the same work, sent once more
  insert_sent(pool_, {.id = "young", .minutes_ago = 5});

  const Ended ended = reconcile({"run"});
  EXPECT_EQ(ended.code, 0);
  EXPECT_THAT(ended.out, IsEmpty());
  EXPECT_THAT(ended.err, IsEmpty());
  EXPECT_THAT(reconcile({"run", "--verbose"}).err, HasSubstr("22 sent, 21 settled; 1 of"));
}

TEST_F(ReconcileTest, FindsEachKindAndNothingElse) {
  plant_all();

  EXPECT_THAT(found(), UnorderedElementsAre("unsent refused", "unsettled lost", "unexpected forged", "dead given-up",
                                            "replayed replayed", "conflict twice"));
  EXPECT_THAT(found({"--only", "dead,conflict"}), UnorderedElementsAre("dead given-up", "conflict twice"));
  EXPECT_THAT(found({"--topic", "elsewhere"}), IsEmpty());
  EXPECT_THAT(found({"--ignore-contents", "--only", "conflict"}), IsEmpty());
  EXPECT_THAT(reconcile({"run"}).out, AllOf(HasSubstr("1 unsettled"), HasSubstr("not in the outbox")));
}

TEST_F(ReconcileTest, RepairsWhatItFoundAndIsSilentThen) {
  plant_all();

  const Ended dry = reconcile({"run", "--repair", "--dry-run"});
  EXPECT_EQ(dry.code, 4);
  EXPECT_THAT(dry.out, AllOf(HasSubstr("send again 1 unsettled"), HasSubstr("replay 1 dead"), HasSubstr("leave 1")));
  EXPECT_EQ(reconcile({"run", "--repair"}).code, 6) << "nobody to ask";
  EXPECT_EQ(reconcile({"run", "--waive", "unexpected", "--yes"}).code, 2) << "no reason";
  EXPECT_EQ(count("replay_audit WHERE action LIKE 'reconcile-%'"), 0);

  const Ended ended = reconcile({"run", "--repair", "--waive", "unexpected,conflict", "--reason", "ticket 812",
                                 "--operator", "ann", "--confirm", schema_.name()});
  EXPECT_EQ(ended.code, 0) << ended.out << ended.err;
  EXPECT_THAT(ended.out, HasSubstr("Done: 6 of 6 differences."));
  EXPECT_EQ(count("outbox_message WHERE message_id = 'lost' AND status = 'pending'"), 1) << "with its own id";
  EXPECT_EQ(count("outbox_message WHERE message_id = 'refused' AND status = 'pending'"), 1);
  EXPECT_EQ(count("dead_letter WHERE message_id = 'given-up' AND state = 'replaying'"), 1);
  EXPECT_EQ(count("replay_audit WHERE operator = 'ann' AND reason = 'ticket 812'"), 6);

  const Ended again = reconcile({"run"});
  EXPECT_EQ(again.code, 0);
  EXPECT_THAT(again.out + again.err, IsEmpty());
  EXPECT_THAT(reconcile({"waived"}).out, AllOf(HasSubstr("forged"), HasSubstr("twice"), HasSubstr("ticket 812")));
  EXPECT_EQ(reconcile({"take-back", "--consumer", "shipping", "forged"}).code, 0);
  EXPECT_THAT(found(), UnorderedElementsAre("unexpected forged"));
}

TEST_F(ReconcileTest, AsksOnATerminal) {
  insert_both(pool_, {.id = "ok"});
  insert_sent(pool_, {.id = "lost"});
  Process process({.arguments = {program("reconcile"), "run", "--only", "unsettled", "--repair"},
                   .environment = environment_of(schema_),
                   .has_terminal = true});
  process.type("y\n");

  const Ended ended = process.wait();
  EXPECT_EQ(ended.code, 0) << ended.out;
  EXPECT_THAT(ended.out, HasSubstr("Repair 1 difference? [y/N]"));
  EXPECT_EQ(count("outbox_message WHERE message_id = 'lost' AND status = 'pending'"), 1);
}

TEST_F(ReconcileTest, LeavesAloneWhatIsOnItsWay) {
  insert_both(pool_, {.id = "ok", .minutes_ago = 120});
  insert_sent(pool_, {.id = "sent-again"});
  execute("UPDATE outbox_message SET sent_at = UTC_TIMESTAMP(6) WHERE message_id = 'sent-again'");
  insert_sent(pool_, {.id = "pending", .status = "pending"});
  execute("UPDATE outbox_message SET available_at = UTC_TIMESTAMP(6) WHERE message_id = 'pending'");
  insert_settled(pool_, {.id = "acked-not-marked"});
  insert_sent(pool_, {.id = "acked-not-marked", .status = "pending"});
  execute("UPDATE outbox_message SET available_at = UTC_TIMESTAMP(6) WHERE message_id = 'acked-not-marked'");

  EXPECT_THAT(found(), IsEmpty());
  EXPECT_THAT(found({"--sla", "10s", "--only", "unsent"}), IsEmpty());
}

TEST_F(ReconcileTest, FindsARetryThatWasLost) {
  insert_both(pool_, {.id = "ok"});
  lose_a_retry("o-1");

  EXPECT_THAT(found({"--only", "unsettled"}), UnorderedElementsAre("unsettled o-1"));
  EXPECT_EQ(reconcile({"run", "--only", "unsettled", "--repair", "--yes"}).code, 0);
  EXPECT_EQ(count("outbox_message WHERE message_id = 'o-1' AND status = 'pending'"), 1);
  EXPECT_THAT(found({"--only", "unsettled"}), IsEmpty());
}

TEST_F(ReconcileTest, ComparesNothingOlderThanTheHorizon) {
  insert_both(pool_, {.id = "ok", .minutes_ago = 200});
  insert_sent(pool_, {.id = "purged", .minutes_ago = 120});
  EXPECT_THAT(found(), UnorderedElementsAre("unsettled purged"));

  execute(
      "INSERT INTO consumed_horizon VALUES ('shipping', 'orders', 0, UTC_TIMESTAMP(6) - INTERVAL 100 MINUTE, "
      "UTC_TIMESTAMP(6))");
  EXPECT_THAT(found(), IsEmpty());
}

TEST_F(ReconcileTest, TellsATopicOfAnotherDatabaseFromALoss) {
  insert_both(pool_, {.id = "ok"});
  insert_settled(pool_, {.id = "from-elsewhere", .topic = "payments"});
  insert_sent(pool_, {.id = "to-elsewhere", .topic = "mails"});

  EXPECT_THAT(found(), IsEmpty());
  EXPECT_THAT(reconcile({"run", "-v"}).err,
              AllOf(HasSubstr("none sent from this database"), HasSubstr("no consumer here has any of them")));
  EXPECT_THAT(found({"--topic", "payments"}), UnorderedElementsAre("unexpected from-elsewhere"));
  const Ended ended = reconcile({"run", "--json"}, {{"ONCEMARK_RECONCILE__PAIRS", "mailing:mails"}});
  EXPECT_EQ(ended.code, 4);
  EXPECT_THAT(ended.out, HasSubstr("to-elsewhere"));
}

TEST_F(ReconcileTest, ClosesALetterWhoseMessageIsDone) {
  insert_both(pool_, {.id = "ok"});
  bury_aged("made-good");
  execute("UPDATE consumed_message SET state = 'done' WHERE message_key = 'made-good'");

  EXPECT_THAT(reconcile({"run"}).out, AllOf(HasSubstr("made-good"), HasSubstr("done")));
  EXPECT_EQ(reconcile({"run", "--only", "dead", "--repair", "--yes"}).code, 0);
  EXPECT_EQ(count("dead_letter WHERE state = 'resolved'"), 1);
  EXPECT_THAT(found(), IsEmpty());
}

TEST_F(ReconcileTest, KeepsATerminalSafeFromKeys) {
  insert_both(pool_, {.id = "ok"});
  insert_sent(pool_, {.id = "bad\x1b[2J\xff"});

  EXPECT_THAT(reconcile({"run"}).out, AllOf(HasSubstr("bad\\x1b[2J\\xff"), Not(HasSubstr("\x1b[2J"))));
  EXPECT_THAT(reconcile({"run", "--json"}).out, HasSubstr("base64"));
}

TEST_F(ReconcileTest, RunsBesideARelayAndTellsTheLog) {
  insert_both(pool_, {.id = "ok"});
  insert_sent(pool_, {.id = "lost"});
  Process process({.arguments = {program("outbox-relay"), "run", "--reconcile"},
                   .environment = environment_of(schema_, {"relay", "report"})});

  EXPECT_TRUE(eventually(30s, [&] { return process.err().find("reconciled") != std::string::npos; })) << process.err();
  process.send(SIGTERM);
  const Ended ended = process.wait();
  EXPECT_EQ(ended.code, 0);
  EXPECT_THAT(ended.err, AllOf(HasSubstr("a message is not as it should be"), HasSubstr("business_key=lost"),
                               HasSubstr("differences=1")));
  EXPECT_EQ(count("outbox_message WHERE message_id = 'lost' AND status = 'pending'"), 0) << "it repairs nothing";
}

class KilledRepairTest : public ReconcileTest, public ::testing::WithParamInterface<int> {};

TEST_P(KilledRepairTest, LeavesEveryDifferenceRepairedOrAsItWas) {
  plant_all();
  const std::vector<std::string> words{"run",      "--repair", "--waive",   "unexpected,conflict",
                                       "--reason", "why",      "--confirm", schema_.name()};

  const Ended killed =
      reconcile(words, {{"ONCEMARK_FAULT", "reconcile.before_commit:kill@" + std::to_string(GetParam())}});
  ASSERT_EQ(killed.code, 128 + SIGKILL) << killed.err;
  EXPECT_EQ(count("replay_audit WHERE reason = 'why'"), GetParam() - 1);
  EXPECT_EQ(found().size(), static_cast<std::size_t>(7 - GetParam()));

  EXPECT_EQ(reconcile(words).code, 0);
  EXPECT_EQ(count("replay_audit WHERE reason = 'why'"), 6) << "each once";
  EXPECT_THAT(found(), IsEmpty());
}

INSTANTIATE_TEST_SUITE_P(AtEachWrite, KilledRepairTest, ::testing::Range(1, 7));

}  // namespace
}  // namespace oncemark::testing
