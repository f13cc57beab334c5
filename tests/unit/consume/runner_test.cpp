#include <oncemark/consume/runner.hpp>

#include <algorithm>
#include <atomic>
#include <latch>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <oncemark/core/error.hpp>
#include <oncemark/testing/builders.hpp>
#include <oncemark/testing/scripted_source.hpp>

#include "unit/consume/runner_doubles.hpp"

namespace oncemark::consume {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::record_with_id;
using testing::ScriptedSource;
using ::testing::UnorderedElementsAre;

TEST(Runner, CommitsPastWhatItSettled) {
  ScriptedSource source;
  for (int i = 0; i < 5; ++i) source.add(record_with_id("m" + std::to_string(i), {"orders", 0, i}));
  FakeHandler handler;
  FakeFailures failures;
  Runner runner(source, handler, failures, quick());

  Running running(runner);
  EXPECT_TRUE(source.wait_for_commit("orders", 5));
  running.stop();

  EXPECT_THAT(handler.handled(), UnorderedElementsAre("m0", "m1", "m2", "m3", "m4"));
  EXPECT_EQ(runner.counts().done, 5u);
  EXPECT_TRUE(source.is_closed());
}

void wait_for_tries(const FakeHandler& handler, int tries) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (handler.starts_ < tries && std::chrono::steady_clock::now() < deadline) std::this_thread::yield();
  ASSERT_GE(handler.starts_, tries);
}

TEST(Runner, WaitsAtItsStartForADatabaseThatIsAway) {
  ScriptedSource source;
  source.add(record_with_id("m0", {"orders", 0, 0}));
  FakeHandler handler;
  handler.may_start_ = false;
  FakeFailures failures;
  Runner runner(source, handler, failures, quick());

  Running running(runner);
  wait_for_tries(handler, 3);
  EXPECT_EQ(source.committed("orders"), -1);
  handler.may_start_ = true;
  EXPECT_TRUE(source.wait_for_commit("orders", 1));
  running.stop();
}

TEST(Runner, DoesNotStartWithoutADatabaseForEver) {
  ScriptedSource source;
  FakeHandler handler;
  handler.may_start_ = false;
  FakeFailures failures;
  RunnerOptions options = quick();
  options.start_timeout = std::chrono::milliseconds(20);
  Runner runner(source, handler, failures, options);

  EXPECT_THROW(Running(runner).wait(), UnavailableError);
  EXPECT_GE(handler.starts_, 2);
}

TEST(Runner, StopsCleanlyWhileItWaitsForTheDatabase) {
  ScriptedSource source;
  FakeHandler handler;
  handler.may_start_ = false;
  FakeFailures failures;
  RunnerOptions options = quick();
  options.in_place = {.initial = std::chrono::hours(1), .cap = std::chrono::hours(1)};
  Runner runner(source, handler, failures, options);

  Running running(runner);
  wait_for_tries(handler, 1);
  running.stop();
}

TEST(Runner, RoutesAFailureAndGoesOn) {
  ScriptedSource source;
  source.add(record_with_id("bad", {"orders", 0, 0}));
  source.add(record_with_id("good", {"orders", 0, 1}));
  FakeHandler handler([](const Message& message) {
    if (message.id == "bad") throw PermanentError("no address");
  });
  FakeFailures failures;
  Runner runner(source, handler, failures, quick());

  Running running(runner);
  EXPECT_TRUE(source.wait_for_commit("orders", 2));
  running.stop();

  EXPECT_THAT(failures.routed(), ElementsAre("bad/handler/permanent"));
  EXPECT_THAT(handler.handled(), ElementsAre("good"));
}

TEST(Runner, TriesInPlaceWhileTheSinkSaysSo) {
  ScriptedSource source;
  source.add(record_with_id("flaky", {"orders", 0, 0}, "key"));
  source.add(record_with_id("next", {"orders", 0, 1}, "key"));
  std::atomic<int> failures_left{2};
  FakeHandler handler([&](const Message& message) {
    if (message.id == "flaky" && failures_left-- > 0) throw std::runtime_error("not yet");
  });
  FakeFailures failures;
  failures.tries_here_ = 2;
  Runner runner(source, handler, failures, quick());

  Running running(runner);
  EXPECT_TRUE(source.wait_for_commit("orders", 2));
  running.stop();

  EXPECT_THAT(failures.routed(), IsEmpty());
  EXPECT_THAT(handler.handled(), UnorderedElementsAre("flaky", "next"));
  EXPECT_EQ(runner.counts().in_place_retries, 2u);
}

TEST(Runner, CountsItsTriesInPlaceUntilTheSinkRoutes) {
  ScriptedSource source;
  source.add(record_with_id("bad", {"orders", 0, 0}));
  std::atomic<int> calls{0};
  FakeHandler handler([&](const Message&) {
    ++calls;
    throw std::runtime_error("never");
  });
  FakeFailures failures;
  failures.tries_here_ = 3;
  Runner runner(source, handler, failures, quick());

  Running running(runner);
  EXPECT_TRUE(source.wait_for_commit("orders", 1));
  running.stop();

  EXPECT_EQ(calls, 4);
  EXPECT_THAT(failures.routed(), ElementsAre("bad/handler/std::runtime_error"));
}

TEST(Runner, PassesOnTheStageThatTheHandlerNames) {
  ScriptedSource source;
  source.add(record_with_id("o-1", {"orders", 0, 0}));
  FakeHandler handler([](const Message&) { throw KeyConflictError("same key"); });
  FakeFailures failures;
  Runner runner(source, handler, failures, quick());

  Running running(runner);
  EXPECT_TRUE(source.wait_for_commit("orders", 1));
  running.stop();

  EXPECT_THAT(failures.routed(), ElementsAre("o-1/key/key_conflict"));
}

TEST(Runner, RefusesTopicsThatTheHandlerCannotTellApart) {
  ScriptedSource source;
  FakeHandler handler;
  handler.refuses_topics_ = true;
  FakeFailures failures;
  Runner runner(source, handler, failures, quick());

  EXPECT_THROW(runner.run({}), MisuseError);
}

TEST(Runner, TriesRoutingAgainUntilItIsRecorded) {
  ScriptedSource source;
  source.add(record_with_id("bad", {"orders", 0, 0}));
  FakeHandler handler([](const Message&) { throw PermanentError("no address"); });
  FakeFailures failures;
  failures.refusals_ = 8;
  Runner runner(source, handler, failures, quick());

  Running running(runner);
  EXPECT_TRUE(source.wait_for_commit("orders", 1));
  running.stop();

  EXPECT_EQ(failures.routed().size(), 1u);
}

TEST(Runner, WaitsWithoutTryingOrRoutingWhileTheStoreIsDown) {
  ScriptedSource source;
  source.add(record_with_id("m", {"orders", 0, 0}));
  std::atomic<int> calls{0};
  FakeHandler handler([&](const Message&) {
    if (++calls == 1) throw UnavailableError("the database is away");
  });
  handler.is_reachable_ = false;
  FakeFailures failures;
  Runner runner(source, handler, failures, quick());

  Running running(runner);
  while (handler.probes_ < 20) std::this_thread::yield();
  source.add(record_with_id("n", {"orders", 0, 1}));
  EXPECT_EQ(calls, 1);
  handler.is_reachable_ = true;
  EXPECT_TRUE(source.wait_for_commit("orders", 2));
  running.stop();

  EXPECT_EQ(calls, 3);
  EXPECT_TRUE(failures.routed().empty());
}

/// As from a client library, for a handler that outlasts wait_timeout.
class LostConnection final : public Error {
 public:
  LostConnection() : Error(ErrorKind::unavailable, "lost the connection") {}
  std::string error_class() const override { return "mysql.2006"; }
};

TEST(Runner, CountsAnAttemptWhenOnlyThisMessageKeepsFailing) {
  ScriptedSource source;
  source.add(record_with_id("m", {"orders", 0, 0}));
  std::atomic<int> calls{0};
  FakeHandler handler([&](const Message&) {
    ++calls;
    throw LostConnection();
  });
  FakeFailures failures;
  Runner runner(source, handler, failures, quick());

  Running running(runner);
  EXPECT_TRUE(source.wait_for_commit("orders", 1));
  running.stop();

  EXPECT_EQ(calls, 5);
  EXPECT_THAT(failures.routed(), ElementsAre("m/handler/mysql.2006"));
}

TEST(Runner, StopsOnMisuseAndSettlesNothingForIt) {
  ScriptedSource source;
  source.add(record_with_id("first", {"orders", 0, 0}));
  Record record;
  record.position = {"orders", 0, 1};  // no om-message-id
  source.add(record);
  FakeHandler handler;
  FakeFailures failures;
  Runner runner(source, handler, failures, quick());

  Running running(runner);

  EXPECT_THROW(running.wait(), MisuseError);
  EXPECT_LE(source.committed("orders"), 1);
  EXPECT_TRUE(failures.routed().empty());
  EXPECT_TRUE(source.is_closed());
}

TEST(Runner, MakesALetterOfARecordWithoutAUsableKey) {
  ScriptedSource source;
  source.add(record_with_id("no-key", {"orders", 0, 7}));
  FakeHandler handler;
  FakeFailures failures;
  Runner runner(source, handler, failures, quick());

  Running running(runner);
  EXPECT_TRUE(source.wait_for_commit("orders", 8));
  running.stop();

  EXPECT_THAT(failures.routed(), ElementsAre("no-key/key/permanent"));
  EXPECT_THAT(failures.keys().front(), HasSubstr("@orders/0/7/"));
}

TEST(Runner, MakesALetterOfARecordItCannotDecode) {
  ScriptedSource source;
  source.add(record_with_id(std::string(300, 'x'), {"orders", 0, 0}));
  FakeHandler handler;
  FakeFailures failures;
  Runner runner(source, handler, failures, quick());

  Running running(runner);
  EXPECT_TRUE(source.wait_for_commit("orders", 1));
  running.stop();

  ASSERT_EQ(failures.routed().size(), 1u);
  EXPECT_THAT(failures.routed().front(), HasSubstr("/decode/permanent"));
  EXPECT_THAT(failures.keys().front(), HasSubstr("@orders/0/0/"));
}

TEST(Runner, SettlesRetryRecordsOfAnotherGroupAtOnce) {
  ScriptedSource source;
  Record record = record_with_id("m", {"retry.shipping.orders", 0, 0});
  record.headers.append(std::string(names::kOriginGroup), "billing");
  source.add(record);
  FakeHandler handler;
  FakeFailures failures;
  Runner runner(source, handler, failures, quick());

  Running running(runner);
  EXPECT_TRUE(source.wait_for_commit("retry.shipping.orders", 1));
  running.stop();

  EXPECT_TRUE(handler.handled().empty());
  EXPECT_EQ(runner.counts().foreign, 1u);
}

TEST(Runner, DrainsAndCommitsBeforeItLetsPartitionsGo) {
  ScriptedSource source;
  source.add(record_with_id("slow", {"orders", 0, 0}));
  std::latch started(1);
  std::latch may_end(1);
  FakeHandler handler([&](const Message&) {
    started.count_down();
    may_end.wait();
  });
  FakeFailures failures;
  Runner runner(source, handler, failures, quick());

  Running running(runner);
  started.wait();
  source.revoke_all();
  may_end.count_down();
  EXPECT_TRUE(source.wait_for_commit("orders", 1));
  source.assign_all();
  source.add(record_with_id("next", {"orders", 0, 1}));
  EXPECT_TRUE(source.wait_for_commit("orders", 2));
  running.stop();

  EXPECT_THAT(handler.handled(), ElementsAre("slow", "next"));
}

TEST(Runner, DoesNotCommitPartitionsItHasLost) {
  ScriptedSource source;
  source.add(record_with_id("m", {"orders", 0, 0}));
  std::latch started(1);
  std::latch may_end(1);
  FakeHandler handler([&](const Message& message) {
    if (message.read_at.offset > 0 || source.committed("orders") >= 0) return;
    if (!started.try_wait()) {
      started.count_down();
      may_end.wait();
    }
  });
  FakeFailures failures;
  RunnerOptions options = quick();
  options.commit_interval = std::chrono::hours(1);
  Runner runner(source, handler, failures, options);

  Running running(runner);
  started.wait();
  source.revoke_all(/*lost=*/true);
  may_end.count_down();
  source.assign_all();
  source.add(record_with_id("n", {"orders", 0, 1}));
  while (handler.handled().size() < 3) std::this_thread::yield();  // m, then m and n again
  EXPECT_EQ(source.committed("orders"), -1);
  running.stop();

  EXPECT_THAT(handler.handled(), UnorderedElementsAre("m", "m", "n"));
  EXPECT_EQ(source.committed("orders"), 2);
}

TEST(Runner, ReadsNoMoreWhileTooMuchIsInFlight) {
  ScriptedSource source;
  for (int i = 0; i < 40; ++i) source.add(record_with_id(std::to_string(i), {"orders", 0, i}));
  std::latch may_go(1);
  FakeHandler handler([&](const Message&) { may_go.wait(); });
  FakeFailures failures;
  RunnerOptions options = quick();
  options.max_in_flight = 10;
  Runner runner(source, handler, failures, options);

  Running running(runner);
  while (!source.is_held_off()) std::this_thread::yield();
  may_go.count_down();
  EXPECT_TRUE(source.wait_for_commit("orders", 40));
  running.stop();

  EXPECT_LE(handler.handled().size(), 40u);
}

TEST(RunnerOptions, NameTheFieldThatIsWrong) {
  RunnerOptions options;
  options.workers = 0;

  try {
    options.validate();
    FAIL() << "nothing was thrown";
  } catch (const ConfigError& error) {
    EXPECT_THAT(error.what(), HasSubstr("RunnerOptions::workers is 0; it must be 1 to 256"));
  }
}

}  // namespace
}  // namespace oncemark::consume
