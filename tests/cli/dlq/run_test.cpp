// dlq-replay run as a process: what it asks, what it does, and what is left when it is stopped or killed.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "support/eventually.hpp"
#include "support/letters.hpp"
#include "support/process.hpp"
#include "support/tool_environment.hpp"

namespace oncemark::testing {
namespace {

using namespace std::chrono_literals;
using nlohmann::json;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

class RunTest : public ::testing::Test {
 protected:
  static std::vector<std::string> command(std::vector<std::string> flags) {
    flags.insert(flags.begin(), {program("dlq-replay"), "run"});
    return flags;
  }
  Ended replay(std::vector<std::string> flags, const std::map<std::string, std::string>& environment = {}) {
    return run(command(std::move(flags)), with(environment_of(schema_), environment));
  }
  Ended dlq(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), program("dlq-replay"));
    return run(std::move(arguments), environment_of(schema_));
  }
  /// A run over all letters at such a rate that it is still at work.
  std::unique_ptr<Process> slow_run() {
    auto process = std::make_unique<Process>(Process::Options{
        .arguments = command({"--consumer", "shipping", "--confirm", "shipping", "--rate", "5/s", "--operator", "ann"}),
        .environment = environment_of(schema_)});
    EXPECT_TRUE(eventually(30s, [&] { return retries_sent() > 0; }));
    return process;
  }

  std::uint64_t count(const std::string& sql) {
    return pool_.transact([&](mysql::Transaction& tx) { return tx.query(sql).at(0).get<std::uint64_t>(0); });
  }
  std::uint64_t retries_sent() { return count("SELECT COUNT(*) FROM outbox_message WHERE purpose LIKE 'retry:%'"); }
  /// Every letter is in its second life, and was sent once for it.
  void expect_each_replayed_once(std::uint64_t letters) {
    EXPECT_EQ(count("SELECT COUNT(*) FROM consumed_message WHERE state = 'retrying' AND life = 2"), letters);
    EXPECT_EQ(count("SELECT COUNT(*) FROM dead_letter WHERE state = 'replaying'"), letters);
    EXPECT_EQ(count("SELECT COUNT(*) FROM failed_message"), letters);
    EXPECT_EQ(retries_sent(), letters);
    EXPECT_EQ(count("SELECT COUNT(*) FROM replay_audit WHERE outcome = 'replayed'"), letters);
    EXPECT_EQ(count("SELECT CAST(SUM(replayed) AS UNSIGNED) FROM replay_job"), letters);
  }
  /// Everything that a replay could touch.
  std::string fingerprint_of_database() {
    return pool_.transact([&](mysql::Transaction& tx) {
      std::string all;
      for (const char* table : {"consumed_message", "failed_message", "dead_letter", "outbox_message", "replay_job",
                                "replay_selection", "replay_audit", "relay_shard"}) {
        for (const mysql::Row& row : tx.query(std::string("SELECT * FROM ") + table)) {
          for (std::size_t i = 0; i < row.size(); ++i) all += row.get<Bytes>(i).str() + '|';
        }
      }
      return all;
    });
  }

  TempSchema schema_{Tables::ours};
  mysql::Pool pool_{schema_.options()};
};

json last_line(const std::string& text) {
  const std::size_t end = text.find_last_not_of('\n');
  const std::size_t before = text.rfind('\n', end);
  return json::parse(text.substr(before == std::string::npos ? 0 : before + 1));
}

TEST_F(RunTest, ReplaysWhatIsSelected) {
  bury_orders(pool_, 3);

  const Ended ended = replay({"--consumer", "shipping", "--message-id", "o-2", "--yes", "--reason", "fixed #7"});

  EXPECT_EQ(ended.code, 0) << ended.err;
  EXPECT_THAT(ended.out, HasSubstr("Done: 1 of 1 letter replayed"));
  EXPECT_EQ(retries_sent(), 1u);
  EXPECT_EQ(count("SELECT COUNT(*) FROM replay_audit WHERE reason = 'fixed #7' AND operator <> '' AND letter_id > 0"),
            1u);
}

TEST_F(RunTest, ADryRunTouchesNothing) {
  bury_orders(pool_, 3);
  const std::string before = fingerprint_of_database();

  const Ended ended = replay({"--consumer", "shipping", "--dry-run", "--rate", "60/m"});

  EXPECT_EQ(ended.code, 0);
  EXPECT_THAT(ended.out, AllOf(HasSubstr("Plan: replay 3 letters"), HasSubstr("retry.shipping.orders"),
                               HasSubstr("1/s, about 3s"), HasSubstr("permanent: warehouse")));
  EXPECT_EQ(fingerprint_of_database(), before);
}

TEST_F(RunTest, WithoutAConfirmationAndATerminalNothingIsDone) {
  bury_orders(pool_, 2);
  const std::string before = fingerprint_of_database();

  for (const std::vector<std::string>& flags : std::vector<std::vector<std::string>>{
           {"--consumer", "shipping"},
           {"--consumer", "shipping", "--yes"},  // nothing narrows the selection
           {"--consumer", "shipping", "--message-id", "o-1"},
           {"--consumer", "shipping", "--confirm", "billing"},
       }) {
    const Ended ended = replay(flags);
    EXPECT_EQ(ended.code, 6);
    EXPECT_THAT(ended.err, HasSubstr("nothing was done"));
  }
  EXPECT_EQ(fingerprint_of_database(), before);
}

TEST_F(RunTest, AllLettersOfAConsumerNeedItsName) {
  bury_orders(pool_, 3);

  EXPECT_EQ(replay({"--consumer", "shipping", "--confirm=shipping"}).code, 0);

  expect_each_replayed_once(3);
}

TEST_F(RunTest, NothingToDoIsFineUnlessAskedOtherwise) {
  EXPECT_EQ(replay({"--consumer", "shipping", "--yes"}).code, 0);
  EXPECT_EQ(replay({"--consumer", "shipping", "--yes", "--fail-if-empty"}).code, 5);
  EXPECT_EQ(count("SELECT COUNT(*) FROM replay_job"), 0u);
}

TEST_F(RunTest, JsonIsPlanProgressAndSummary) {
  bury_orders(pool_, 2);

  const Ended ended = replay({"--consumer", "shipping", "--limit", "1", "-y", "--json"});

  EXPECT_EQ(ended.code, 0);
  EXPECT_EQ(json::parse(ended.out.substr(0, ended.out.find('\n')))["event"], "plan");
  const json summary = last_line(ended.out);
  EXPECT_EQ(summary["event"], "summary");
  EXPECT_EQ(summary["replayed"], 1);
  EXPECT_EQ(summary["state"], "done");
  EXPECT_EQ(last_line(replay({"--consumer", "shipping", "--json"}).out)["exit_code"], 6);
}

TEST_F(RunTest, ALetterThatCannotBeReplayedIsPassedOverAndReported) {
  bury_orders(pool_, 2);
  Message pointer = order_message("pointer");
  pointer.payload = nullptr;
  pointer.headers = {{"om-record-left-out", "99999999"}};
  bury(pool_, pointer);

  const Ended ended = replay({"--consumer", "shipping", "--confirm", "shipping"});

  EXPECT_EQ(ended.code, 3);
  EXPECT_THAT(ended.out, HasSubstr("2 of 3 letters replayed, 1 could not be replayed"));
  EXPECT_THAT(ended.err, HasSubstr("a letter cannot be replayed"));
  EXPECT_EQ(retries_sent(), 2u);
}

TEST_F(RunTest, ASecondRunIsLockedOutAndToldWhoRuns) {
  bury_orders(pool_, 40);
  const auto first = slow_run();

  const Ended second = replay({"--consumer", "shipping", "--confirm", "shipping"});

  EXPECT_EQ(second.code, 8);
  EXPECT_THAT(second.err, AllOf(HasSubstr("job 1 of ann"), HasSubstr("of 40 letters")));
  EXPECT_EQ(replay({"--resume", "1"}).code, 8);
}

TEST_F(RunTest, AnInterruptStopsAfterTheLetterAndTellsHowToGoOn) {
  bury_orders(pool_, 40);
  for (const auto& [signal, code] : {std::pair(SIGINT, 130), std::pair(SIGTERM, 143)}) {
    const std::uint64_t before = retries_sent();
    auto process = before == 0 ? slow_run() : nullptr;
    if (!process) {
      process = std::make_unique<Process>(Process::Options{.arguments = command({"--resume", "1", "--rate", "5/s"}),
                                                           .environment = environment_of(schema_)});
      EXPECT_TRUE(eventually(30s, [&] { return retries_sent() > before; }));
    }
    const auto asked = std::chrono::steady_clock::now();
    process->send(signal);
    const Ended ended = process->wait();

    EXPECT_EQ(ended.code, code);
    EXPECT_LT(std::chrono::steady_clock::now() - asked, 5s);  // it would take eight
    EXPECT_THAT(ended.err, HasSubstr("Stopping after the letters in flight"));
    EXPECT_THAT(ended.out, HasSubstr("Resume: dlq-replay resume 1"));
  }

  EXPECT_EQ(replay({"--resume", "1", "--rate", "10000/s"}).code, 0);
  expect_each_replayed_once(40);
}

TEST_F(RunTest, APlanIsKeptAndRunLater) {
  bury_orders(pool_, 3);

  const Ended planned = dlq({"plan", "--consumer", "shipping", "--limit", "2", "--reason", "fixed #7"});
  bury(pool_, order_message("o-0"));
  const Ended done = replay({"--plan", "1"});

  EXPECT_EQ(planned.code, 0) << planned.err;
  EXPECT_THAT(planned.out, AllOf(HasSubstr("Plan: replay 2 letters"), HasSubstr("Next: dlq-replay run --plan 1")));
  EXPECT_EQ(done.code, 0) << done.err;
  expect_each_replayed_once(2);
  EXPECT_EQ(replay({"--plan", "1"}).code, 2) << "it is no plan any more";
  EXPECT_EQ(replay({"--plan", "2"}).code, 2);
}

TEST_F(RunTest, AnOldPlanIsRefused) {
  bury_orders(pool_, 1);
  (void)dlq({"plan", "--consumer", "shipping"});
  pool_.transact([](mysql::Transaction& tx) {
    tx.execute("UPDATE replay_job SET created_at = UTC_TIMESTAMP(6) - INTERVAL 25 HOUR");
  });

  const Ended refused = replay({"--plan", "1"});

  EXPECT_EQ(refused.code, 6);
  EXPECT_THAT(refused.err, AllOf(HasSubstr("nothing was done"), HasSubstr("--max-plan-age")));
  EXPECT_EQ(replay({"--plan", "1", "--max-plan-age", "2d"}).code, 0);
}

TEST_F(RunTest, IsPausedWatchedResumedAndCancelledFromOutside) {
  bury_orders(pool_, 40);
  const auto running = slow_run();
  Process watching({.arguments = {program("dlq-replay"), "watch", "1"}, .environment = environment_of(schema_)});
  EXPECT_THAT(dlq({"status"}).out, AllOf(HasSubstr("Job 1: running"), HasSubstr("by ann")));

  EXPECT_THAT(dlq({"pause", "1", "--operator", "bob", "--reason", "it hurts"}).out, HasSubstr("Job 1: paused"));
  const Ended paused = running->wait();
  EXPECT_EQ(paused.code, 3);
  EXPECT_THAT(paused.out, AllOf(HasSubstr("Paused: "), HasSubstr("paused by bob"), HasSubstr("resume 1")));
  EXPECT_EQ(watching.wait().code, 3);

  EXPECT_EQ(json::parse(dlq({"status", "1", "--json"}).out)["state"], "paused");
  EXPECT_EQ(dlq({"resume", "1", "--rate", "10000/s"}).code, 0);
  expect_each_replayed_once(40);
  EXPECT_EQ(dlq({"cancel", "1"}).code, 2) << "it is done";
  EXPECT_EQ(dlq({"status", "7"}).code, 2);
}

TEST_F(RunTest, SelectsByGlobsPlacesAndCounts) {
  bury_orders(pool_, 5);

  const auto selected = [&](std::vector<std::string> flags) {
    flags.insert(flags.begin(), {"--consumer", "shipping", "--dry-run", "--json"});
    const Ended ended = replay(flags);
    EXPECT_EQ(ended.code, 0) << ended.err;
    return ended.out.find("\"plan\"") == std::string::npos
               ? 0
               : json::parse(ended.out.substr(0, ended.out.find('\n')))["letters"].get<int>();
  };

  EXPECT_EQ(selected({"--key", "o-?"}), 5);
  EXPECT_EQ(selected({"--key", "o-[1]"}), 0);
  EXPECT_EQ(selected({"--header", "trace=t-*", "--header", "trace=*-2"}), 1);
  EXPECT_EQ(selected({"--header", "absent=*"}), 0);
  EXPECT_EQ(selected({"--record", "orders/3@2..4"}), 3);
  EXPECT_EQ(selected({"--record", "orders/3"}), 5);
  EXPECT_EQ(selected({"--attempts", ">=2"}), 0);
  EXPECT_EQ(selected({"--attempts", "1", "--replays", "0", "--error-text", "house 17"}), 5);
  EXPECT_EQ(selected({"--group", "shipping", "--header", "trace=*", "--limit", "2"}), 2);
  for (const std::vector<std::string>& wrong : std::vector<std::vector<std::string>>{{"--record", "orders"},
                                                                                     {"--record", "orders/x"},
                                                                                     {"--attempts", "many"},
                                                                                     {"--attempts", "<0"},
                                                                                     {"--header", "trace"},
                                                                                     {"--ramp", "5/s,x"},
                                                                                     {"--stop-if-failed-over", "7"},
                                                                                     {"--order", "random"},
                                                                                     {"--canary-wait", "long"}}) {
    auto flags = wrong;
    flags.insert(flags.begin(), {"--consumer", "shipping"});
    EXPECT_EQ(replay(flags).code, 2) << wrong[0] << " " << wrong[1];
  }
}

TEST_F(RunTest, SaysWhatStaysBecauseItWasReplayedTooOften) {
  bury_orders(pool_, 2);
  pool_.transact([](mysql::Transaction& tx) {
    tx.execute("UPDATE dead_letter SET life = 3 WHERE identity = 'o-1'");
    tx.execute("UPDATE consumed_message SET life = 3 WHERE message_key = 'o-1'");
  });

  const Ended ended = replay({"--consumer", "shipping", "--confirm", "shipping"});

  EXPECT_EQ(ended.code, 3);
  EXPECT_THAT(ended.err, HasSubstr("stay   1 that were replayed 2 times before"));
  EXPECT_THAT(ended.out, HasSubstr("1 of 2 letters replayed, 1 stay"));
}

TEST_F(RunTest, AFailedCanaryPausesAndTellsHowToGoOn) {
  bury_orders(pool_, 3);

  const Ended ended =
      replay({"--consumer", "shipping", "--confirm", "shipping", "--canary", "1", "--canary-wait", "1s"});

  EXPECT_EQ(ended.code, 3);
  EXPECT_THAT(ended.out, AllOf(HasSubstr("Paused: 1 of 3"), HasSubstr("the canary failed"), HasSubstr("resume 1")));
  EXPECT_EQ(retries_sent(), 1u);
}

TEST_F(RunTest, KilledWhileAJobIsWrittenNothingIsDone) {
  bury_orders(pool_, 3);
  const std::map<std::string, std::string> fault{{"ONCEMARK_FAULT", "replay.before_start:kill"}};
  const std::string before = fingerprint_of_database();

  EXPECT_EQ(replay({"--consumer", "shipping", "--confirm", "shipping"}, fault).code, 137);
  EXPECT_EQ(run({program("dlq-replay"), "plan", "--consumer", "shipping"}, with(environment_of(schema_), fault)).code,
            137);
  EXPECT_EQ(fingerprint_of_database(), before);

  EXPECT_EQ(dlq({"plan", "--consumer", "shipping"}).code, 0);
  const std::string plan = std::to_string(count("SELECT id FROM replay_job"));
  EXPECT_EQ(replay({"--plan", plan}, fault).code, 137);
  EXPECT_EQ(run({program("dlq-replay"), "cancel", plan}, with(environment_of(schema_), fault)).code, 137);
  EXPECT_EQ(replay({"--plan", plan}).code, 0);
  expect_each_replayed_once(3);
}

class KilledRunTest : public RunTest, public ::testing::WithParamInterface<const char*> {};

TEST_P(KilledRunTest, ReplaysEachLetterOnceAfterTheResume) {
  bury_orders(pool_, 100);

  const Ended killed = replay({"--consumer", "shipping", "--confirm", "shipping", "--rate", "400/s"},
                              {{"ONCEMARK_FAULT", GetParam()}});  // a rate: a few transactions
  EXPECT_EQ(killed.code, 137);
  EXPECT_LT(retries_sent(), 100u);
  const Ended again = replay({"--resume", "1"}, {{"ONCEMARK_FAULT", GetParam()}});
  EXPECT_EQ(again.code, 137);
  const Ended resumed = replay({"--resume", "1"});

  EXPECT_EQ(resumed.code, 0) << resumed.err;
  expect_each_replayed_once(100);
}

INSTANTIATE_TEST_SUITE_P(AtEachFailPoint, KilledRunTest,
                         ::testing::Values("replay.before_commit:kill@1", "replay.before_commit:kill@2",
                                           "replay.after_commit:kill@1", "replay.after_commit:kill@2"));

TEST_F(RunTest, AResumedJobOfAKilledRunNeedsNoWait) {
  bury_orders(pool_, 40);
  auto process = slow_run();
  process->send(SIGKILL);
  (void)process->wait();

  EXPECT_EQ(replay({"--resume", "1", "--rate", "10000/s"}).code, 0);

  expect_each_replayed_once(40);
}

TEST_F(RunTest, ASecondRunAfterACrashTakesWhatIsLeft) {
  bury_orders(pool_, 40);
  EXPECT_EQ(
      replay({"--consumer", "shipping", "--confirm", "shipping"}, {{"ONCEMARK_FAULT", "replay.after_commit:kill@1"}})
          .code,
      137);

  EXPECT_EQ(replay({"--consumer", "shipping", "--confirm", "shipping"}).code, 0);

  EXPECT_EQ(retries_sent(), 40u);
  EXPECT_EQ(count("SELECT COUNT(*) FROM dead_letter WHERE state = 'replaying'"), 40u);
}

TEST_F(RunTest, OnATerminalItShowsThePlanAndAsks) {
  bury_orders(pool_, 3);
  const auto ask = [&](std::vector<std::string> flags, const std::string& answer) {
    Process process({.arguments = command(std::move(flags)),
                     .environment = with(environment_of(schema_), {{"TERM", "xterm"}}),
                     .has_terminal = true});
    EXPECT_TRUE(eventually(30s, [&] {
      return process.out().find("[y/N] ") != std::string::npos ||
             process.out().find("Type the name") != std::string::npos;
    }));
    process.type(answer + "\n");
    return process.wait();
  };

  const Ended no = ask({"--consumer", "shipping", "--message-id", "o-1"}, "n");
  EXPECT_EQ(no.code, 6);
  EXPECT_THAT(no.out, AllOf(HasSubstr("Plan: replay 1 letter "), HasSubstr("Replay 1 letter? [y/N]")));
  EXPECT_EQ(ask({"--consumer", "shipping"}, "y").code, 6);  // all of them: its name is asked for
  EXPECT_EQ(retries_sent(), 0u);

  EXPECT_EQ(ask({"--consumer", "shipping", "--message-id", "o-1"}, "y").code, 0);
  EXPECT_EQ(retries_sent(), 1u);
  EXPECT_EQ(ask({"--consumer", "shipping"}, "shipping").code, 0);
  expect_each_replayed_once(3);
}

TEST_F(RunTest, OnATerminalOneLineShowsHowFarItIs) {
  bury_orders(pool_, 10);
  Process process({.arguments = command({"--consumer", "shipping", "--confirm", "shipping", "--rate", "20/s"}),
                   .environment = with(environment_of(schema_), {{"TERM", "xterm"}}),
                   .has_terminal = true});

  const Ended ended = process.wait();

  EXPECT_EQ(ended.code, 0);
  EXPECT_THAT(ended.out, AllOf(HasSubstr("\r\x1b[Kreplay ["), HasSubstr("/10  "), HasSubstr("ETA")));
}

TEST_F(RunTest, WithoutATerminalThereIsNoAnimation) {
  bury_orders(pool_, 10);

  const Ended ended = replay({"--consumer", "shipping", "--confirm", "shipping", "--rate", "20/s"});

  EXPECT_THAT(ended.err + ended.out, AllOf(Not(HasSubstr("\r")), Not(HasSubstr("\x1b"))));
}

TEST_F(RunTest, UsesTheTopicTemplatesOfTheConfiguration) {
  bury_orders(pool_, 1);

  EXPECT_EQ(
      replay({"--consumer", "shipping", "--confirm", "shipping"}, {{"ONCEMARK_TOPICS__RETRY", "again.{group}.{topic}"}})
          .code,
      0);

  EXPECT_EQ(count("SELECT COUNT(*) FROM outbox_message WHERE topic = 'again.shipping.orders'"), 1u);
}

}  // namespace
}  // namespace oncemark::testing
