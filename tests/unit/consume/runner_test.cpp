#include <oncemark/consume/runner.hpp>

#include <algorithm>
#include <atomic>
#include <functional>
#include <future>
#include <latch>
#include <mutex>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <oncemark/core/error.hpp>
#include <oncemark/testing/builders.hpp>
#include <oncemark/testing/scripted_source.hpp>

namespace oncemark::consume {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::record_with_id;
using testing::ScriptedSource;
using ::testing::UnorderedElementsAre;

/// A Handler around a function; remembers what it was called with.
class FakeHandler final : public Handler {
 public:
  using Work = std::function<void(const Message&)>;
  explicit FakeHandler(Work work = [](const Message&) {}) : work_(std::move(work)) {}

  const std::string& consumer() const override { return consumer_; }
  void prepare() override {
    ++starts_;
    if (!may_start_) throw UnavailableError("the database is away");
  }
  void check_topics(const std::vector<std::string>& topics) const override {
    if (refuses_topics_) throw MisuseError("cannot tell " + topics.front() + " from others");
  }
  void identify(Message& message) const override {
    if (message.id == "no-key") throw PermanentError("no key");
    if (!message.has_id) throw MisuseError("no id");
    message.business_key = message.id;
  }
  Handled handle(std::span<const Message* const> group) override {
    {
      const std::lock_guard lock(mutex_);
      groups_.push_back(group.size());
      if (group.size() > 1 && group_failure_) return {.failure = group_failure_};
    }
    std::vector<Settled> results;
    for (const Message* message : group) {
      const auto begin = std::chrono::steady_clock::now();
      try {
        work_(*message);
        results.push_back({.outcome = message->id.starts_with("copy") ? Outcome::duplicate : Outcome::done,
                           .took = std::chrono::steady_clock::now() - begin});
        const std::lock_guard lock(mutex_);
        handled_.push_back(message->id);
      } catch (...) {
        const ErrorSummary error = summarize_current_exception();
        results.push_back({.failure = std::current_exception(),
                           .stage = error.error_class == "key_conflict" ? Stage::key : Stage::handler});
        if (error.is_infrastructure) break;
      }
    }
    return {.messages = std::move(results)};
  }
  std::vector<bool> known_done(std::span<const Message* const> messages) noexcept override {
    std::vector<bool> known;
    for (const Message* message : messages) known.push_back(message->id.starts_with("known"));
    return known;
  }
  bool is_reachable() noexcept override {
    ++probes_;
    return is_reachable_;
  }

  /// What every group of more than one message ends with from now on.
  void fail_groups(std::exception_ptr failure) {
    const std::lock_guard lock(mutex_);
    group_failure_ = std::move(failure);
  }
  std::size_t largest_group() const {
    const std::lock_guard lock(mutex_);
    return groups_.empty() ? 0 : std::ranges::max(groups_);
  }

  std::size_t last_group() const {
    const std::lock_guard lock(mutex_);
    return groups_.empty() ? 0 : groups_.back();
  }

  std::vector<std::string> handled() const {
    const std::lock_guard lock(mutex_);
    return handled_;
  }
  std::atomic<bool> is_reachable_{true};
  std::atomic<int> probes_{0};
  std::atomic<bool> may_start_{true};
  std::atomic<int> starts_{0};
  bool refuses_topics_ = false;

 private:
  const std::string consumer_ = "shipping";
  Work work_;
  mutable std::mutex mutex_;
  std::vector<std::string> handled_;
  std::vector<std::size_t> groups_;
  std::exception_ptr group_failure_;
};

/// A FailureSink that remembers what it was given, and can be told to fail first.
class FakeFailures final : public FailureSink {
 public:
  std::vector<TopicNeed> prepare(const std::string&, const std::string& group,
                                 const std::vector<std::string>& topics) override {
    return {{.topic = "retry." + group + "." + topics.front(), .like = topics.front(), .subscribe = true}};
  }
  Routed route(const Failure& failure) override {
    if (refusals_-- > 0) throw UnavailableError("the database is away");
    const std::lock_guard lock(mutex_);
    if (failure.tried_here < tries_here_) return Routed::again;
    routed_.push_back(failure.message.id + "/" + std::string(to_string(failure.stage)) + "/" +
                      failure.error.error_class);
    keys_.push_back(failure.message.business_key);
    return Routed::dead;
  }
  std::vector<std::string> routed() const {
    const std::lock_guard lock(mutex_);
    return routed_;
  }
  std::vector<std::string> keys() const {
    const std::lock_guard lock(mutex_);
    return keys_;
  }
  std::atomic<int> refusals_{0};
  std::atomic<int> tries_here_{0};

 private:
  mutable std::mutex mutex_;
  std::vector<std::string> routed_;
  std::vector<std::string> keys_;
};

RunnerOptions quick(std::size_t workers = 2) {
  return {.workers = workers,
          .commit_interval = std::chrono::milliseconds(1),
          .in_place = {.initial = std::chrono::milliseconds(1), .cap = std::chrono::milliseconds(2)}};
}

/// Runs a runner on a thread of its own until the end of the scope.
class Running {
 public:
  explicit Running(Runner& runner)
      : thread_([&runner, this](std::stop_token stop) {
          try {
            runner.run(stop);
            ended_.set_value();
          } catch (...) {
            ended_.set_exception(std::current_exception());
          }
        }) {}
  /// Waits for the end by itself; throws what run() threw.
  void wait() { future_.get(); }
  void stop() {
    thread_.request_stop();
    future_.get();
  }

 private:
  std::promise<void> ended_;
  std::future<void> future_ = ended_.get_future();
  std::jthread thread_;
};

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

TEST(Runner, KeepsTheOrderOfAKeyAcrossLanes) {
  ScriptedSource source;
  for (int i = 0; i < 60; ++i)
    source.add(record_with_id(std::to_string(i), {"orders", 0, i}, "key" + std::to_string(i % 3)));
  FakeHandler handler;
  FakeFailures failures;
  Runner runner(source, handler, failures, quick(4));

  Running running(runner);
  EXPECT_TRUE(source.wait_for_commit("orders", 60));
  running.stop();

  int last[3] = {-1, -1, -1};
  for (const std::string& id : handler.handled()) {
    const int i = std::stoi(id);
    EXPECT_GT(i, last[i % 3]);
    last[i % 3] = i;
  }
}

TEST(Runner, SettlesWhatIsKnownToBeDoneAsItReadsItButInItsFirstWindow) {
  ScriptedSource source;
  FakeHandler handler;
  FakeFailures failures;
  Runner runner(source, handler, failures, quick());
  Running running(runner);
  const auto settle = [&](std::int64_t offset) {
    source.add(record_with_id("known" + std::to_string(offset), {"orders", 0, offset}));
    return source.wait_for_commit("orders", offset + 1);
  };

  std::int64_t last = -1;
  while (runner.counts().duplicates == 0 && last < 1'000) ASSERT_TRUE(settle(++last));
  running.stop();

  EXPECT_EQ(handler.handled().front(), "known0")
      << "a process that died may have noted it: it has to be settled in MySQL";
  EXPECT_EQ(runner.counts().duplicates, 1u);
  EXPECT_EQ(handler.handled().size(), static_cast<std::size_t>(last));
}

TEST(Runner, TakesLongerGroupsWhereMostAreDuplicates) {
  ScriptedSource source;
  for (int i = 0; i < 4'000; ++i)
    source.add(record_with_id((i < 2'000 ? "copy" : "m") + std::to_string(i), {"orders", 0, i}));
  FakeHandler handler;
  FakeFailures failures;
  RunnerOptions options = quick(1);
  options.max_group = 10;
  Runner runner(source, handler, failures, options);

  Running running(runner);
  EXPECT_TRUE(source.wait_for_commit("orders", 4'000));
  running.stop();

  EXPECT_EQ(handler.largest_group(), 40u);
  EXPECT_LE(handler.last_group(), 10u) << "there were none any more";
}

TEST(Runner, KeepsGroupsLongWhereMessagesFailByThemselves) {
  ScriptedSource source;
  for (int i = 0; i < 2'000; ++i) {
    const std::string number = std::to_string(i);
    source.add(record_with_id((i % 10 == 0 ? "bad" : "good") + number, {"orders", 0, i}, "key" + number));
  }
  FakeHandler handler([](const Message& message) {
    if (message.id.starts_with("bad")) throw std::runtime_error("this one");
  });
  FakeFailures failures;
  RunnerOptions options = quick(1);
  options.breaker.keys = 0;
  Runner runner(source, handler, failures, options);

  Running running(runner);
  EXPECT_TRUE(source.wait_for_commit("orders", 2'000));
  running.stop();

  EXPECT_EQ(failures.routed().size(), 200u);
  EXPECT_GE(handler.largest_group(), 24u);
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

TEST(Runner, TriesEachMessageOfAFailedGroupAlone) {
  ScriptedSource source;
  for (int i = 0; i < 200; ++i) source.add(record_with_id(std::to_string(i), {"orders", 0, i}, std::to_string(i)));
  FakeHandler handler;
  handler.fail_groups(std::make_exception_ptr(UnavailableError("lost the connection")));
  FakeFailures failures;
  Runner runner(source, handler, failures, quick());

  Running running(runner);
  EXPECT_TRUE(source.wait_for_commit("orders", 200));
  running.stop();

  EXPECT_EQ(handler.handled().size(), 200u);
  EXPECT_TRUE(failures.routed().empty());
}

TEST(Runner, LetsASlowKeyWaitForItselfOnly) {
  ScriptedSource source;
  std::int64_t offset = 0;
  for (int i = 0; i < 4; ++i) source.add(record_with_id("slow", {"orders", 0, offset++}, "slow"));
  for (int i = 0; i < 100; ++i) source.add(record_with_id("quick", {"orders", 0, offset++}, std::to_string(i)));
  std::latch may_end(1);
  FakeHandler handler([&](const Message& message) {
    if (message.id == "slow") may_end.wait();
  });
  FakeFailures failures;
  Runner runner(source, handler, failures, quick(2));

  Running running(runner);
  while (handler.handled().size() < 99) std::this_thread::yield();  // one may share the first slow one's group
  may_end.count_down();
  EXPECT_TRUE(source.wait_for_commit("orders", 104));
  running.stop();
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
