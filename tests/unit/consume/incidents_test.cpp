// The runner among handlers that fail in crowds, and messages that end processes.
#include <oncemark/consume/runner.hpp>

#include <atomic>
#include <functional>
#include <future>
#include <map>
#include <mutex>
#include <set>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <oncemark/core/error.hpp>
#include <oncemark/testing/builders.hpp>
#include <oncemark/testing/scripted_source.hpp>

namespace oncemark::consume {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using testing::record_with_id;
using testing::ScriptedSource;

/// A Handler around a function, with notes in memory.
class WatchedHandler final : public Handler {
 public:
  using Work = std::function<void(const Message&)>;
  explicit WatchedHandler(Work work) : work_(std::move(work)) {}

  const std::string& consumer() const override { return consumer_; }
  void prepare() override {}
  void identify(Message& message) const override { message.business_key = message.id; }
  Handled handle(std::span<const Message* const> group) override {
    Handled handled;
    for (const Message* message : group) {
      const int others = running_++;
      std::exception_ptr failure;
      try {
        work_(*message);
      } catch (...) {
        failure = std::current_exception();
      }
      --running_;
      const std::lock_guard lock(mutex_);
      if (!failure) {
        company_[message->id] = others;
        noted_.erase(message->id);
      }
      handled.messages.push_back({.failure = failure});
      if (failure) break;
    }
    return handled;
  }
  bool is_reachable() noexcept override { return true; }
  std::vector<std::uint32_t> note(std::span<const Message* const> messages) override {
    const std::lock_guard lock(mutex_);
    std::vector<std::uint32_t> tries;
    for (const Message* message : messages) {
      const bool goes_alone = tries_before_.contains(message->id);
      if (!goes_alone) noted_.insert(message->id), was_noted_.insert(message->id);
      tries.push_back(goes_alone ? 0 : 1);
    }
    return tries;
  }
  std::uint32_t note_alone(const Message& message) override {
    const std::lock_guard lock(mutex_);
    noted_.insert(message.id);
    return tries_before_.at(message.id) + 1;
  }
  void withdraw(std::span<const Message* const> messages) noexcept override {
    const std::lock_guard lock(mutex_);
    for (const Message* message : messages) noted_.erase(message->id);
  }

  std::set<std::string> noted() const {
    const std::lock_guard lock(mutex_);
    return noted_;
  }
  std::set<std::string> was_noted() const {
    const std::lock_guard lock(mutex_);
    return was_noted_;
  }
  /// How many others were in their handlers when this one was; empty for what was not handled.
  std::map<std::string, int> company() const {
    const std::lock_guard lock(mutex_);
    return company_;
  }
  std::map<std::string, std::uint32_t> tries_before_;  // of those that have to go alone

 private:
  const std::string consumer_ = "shipping";
  Work work_;
  std::atomic<int> running_{0};
  mutable std::mutex mutex_;
  std::set<std::string> noted_;
  std::set<std::string> was_noted_;
  std::map<std::string, int> company_;
};

class Letters final : public FailureSink {
 public:
  std::vector<TopicNeed> prepare(const std::string&, const std::string&, const std::vector<std::string>&) override {
    return {};
  }
  Routed route(const Failure& failure) override {
    const std::lock_guard lock(mutex_);
    routed_.push_back(failure.message.id + "/" + failure.error.error_class);
    return Routed::dead;
  }
  std::vector<std::string> routed() const {
    const std::lock_guard lock(mutex_);
    return routed_;
  }

 private:
  mutable std::mutex mutex_;
  std::vector<std::string> routed_;
};

class Incidents : public ::testing::Test {
 protected:
  static RunnerOptions quick() {
    return {.workers = 4,
            .commit_interval = 2ms,
            .in_place = {.initial = 1ms, .cap = 2ms},
            .breaker = {.keys = 5, .first_probe = 5ms, .longest_probe = 10ms}};
  }
  /// Records whose ids are their keys.
  void add(int count, const std::string& prefix = "m") {
    for (int i = 0; i < count; ++i, ++offset_) {
      const std::string id = prefix + std::to_string(offset_);
      source_.add(record_with_id(id, {"orders", 0, offset_}, id));
    }
  }
  void start(WatchedHandler& handler) {
    runner_ = std::make_unique<Runner>(source_, handler, letters_, quick());
    thread_ = std::jthread([this](std::stop_token stop) { runner_->run(stop); });
  }
  void stop() {
    thread_.request_stop();
    thread_.join();
  }

  ScriptedSource source_;
  Letters letters_;
  std::unique_ptr<Runner> runner_;
  std::jthread thread_;
  int offset_ = 0;
};

TEST_F(Incidents, StopTheFlowWhenManyKeysFailAlikeUntilOneSucceeds) {
  add(200);
  std::atomic<int> left{20};
  WatchedHandler handler([&](const Message&) {
    if (left-- > 0) throw std::runtime_error("the warehouse does not answer");
  });

  start(handler);
  EXPECT_TRUE(source_.wait_for_commit("orders", 200));
  stop();

  EXPECT_LT(letters_.routed().size(), 5u);
  EXPECT_EQ(runner_->counts().breaker_opened, 1u);
  EXPECT_GE(runner_->counts().probes, 2u);
  EXPECT_EQ(runner_->counts().done, 200 - letters_.routed().size());
}

TEST_F(Incidents, LeaveNoLetterWhenHandlersSayThatTheyAreUnavailable) {
  add(3);
  std::atomic<int> left{60};
  WatchedHandler handler([&](const Message&) {
    if (left-- > 0) throw UnavailableError("the warehouse is down");
  });

  start(handler);
  EXPECT_TRUE(source_.wait_for_commit("orders", 3));
  stop();

  EXPECT_THAT(letters_.routed(), IsEmpty());
  EXPECT_EQ(runner_->counts().breaker_opened, 1u);
}

TEST_F(Incidents, CostAnAttemptWhenOnlyOneKeyIsUnavailableAndOthersSucceed) {
  add(1, "north");
  add(1, "south");
  std::atomic<int> calls{0};
  WatchedHandler handler([&](const Message& message) {
    if (message.id.starts_with("south")) return;
    if (++calls == 2) add(1, "south");
    throw UnavailableError("the northern warehouse is down");
  });

  start(handler);
  EXPECT_TRUE(source_.wait_for_commit("orders", 3));
  stop();

  EXPECT_THAT(letters_.routed(), ElementsAre("north0/unavailable"));
}

TEST_F(Incidents, AreNotWhatHandlersDecide) {
  add(100);
  WatchedHandler handler([](const Message&) { throw DeadLetterError("the order was withdrawn"); });

  start(handler);
  EXPECT_TRUE(source_.wait_for_commit("orders", 100));
  stop();

  EXPECT_EQ(letters_.routed().size(), 100u);
  EXPECT_EQ(runner_->counts().breaker_opened, 0u);
}

TEST_F(Incidents, FindEveryHealthyMessageAmongBadOnes) {
  add(20, "bad");
  add(20, "good");
  WatchedHandler handler([&](const Message& message) {
    if (message.id.starts_with("bad")) throw PermanentError("no address");
  });

  start(handler);
  while (runner_->counts().done < 20) std::this_thread::yield();
  stop();

  EXPECT_GE(runner_->counts().breaker_opened, 1u);
  EXPECT_LT(letters_.routed().size(), 20u) << "when only bad ones are left, the flow stays stopped";
}

TEST_F(Incidents, CanBeStoppedWhileTheFlowIs) {
  add(50);
  WatchedHandler handler([](const Message&) { throw std::runtime_error("the warehouse does not answer"); });

  start(handler);
  while (runner_->counts().probes < 3) std::this_thread::yield();
  stop();

  EXPECT_LT(source_.committed("orders"), 50);
  EXPECT_THAT(handler.noted().size(), ::testing::Le(letters_.routed().size())) << "the notes were withdrawn";
}

TEST_F(Incidents, AreWatchedForOnlyUntilTheFirstWindowIsSettled) {
  add(20);
  WatchedHandler handler([](const Message&) {});

  start(handler);
  EXPECT_TRUE(source_.wait_for_commit("orders", 20));
  for (int round = 0; round < 10; ++round) {  // the window may be closed one round late
    add(1);
    EXPECT_TRUE(source_.wait_for_commit("orders", offset_));
  }
  const std::size_t noted = handler.was_noted().size();
  add(20);
  EXPECT_TRUE(source_.wait_for_commit("orders", offset_));

  EXPECT_GE(noted, 20u);
  EXPECT_EQ(handler.was_noted().size(), noted);
  source_.revoke_all();
  source_.assign_all();
  add(5);
  EXPECT_TRUE(source_.wait_for_commit("orders", offset_));
  EXPECT_GT(handler.was_noted().size(), noted) << "another assignment is another window";
  stop();
  EXPECT_THAT(handler.noted(), IsEmpty());
}

TEST_F(Incidents, AreLookedForWithNothingElseRunning) {
  add(30);
  WatchedHandler handler([](const Message&) { std::this_thread::yield(); });
  handler.tries_before_ = {{"m7", 2}, {"m21", 2}};

  start(handler);
  EXPECT_TRUE(source_.wait_for_commit("orders", 30));
  stop();

  EXPECT_EQ(handler.company().at("m7"), 0);
  EXPECT_EQ(handler.company().at("m21"), 0);
  EXPECT_EQ(runner_->counts().done, 30u);
  EXPECT_THAT(handler.noted(), IsEmpty());
}

TEST_F(Incidents, MakeALetterOfAMessageThatEndedTheProcessAlone) {
  add(10);
  WatchedHandler handler([](const Message&) {});
  handler.tries_before_ = {{"m4", 3}};

  start(handler);
  EXPECT_TRUE(source_.wait_for_commit("orders", 10));
  stop();

  EXPECT_THAT(letters_.routed(), ElementsAre("m4/crash_loop"));
  EXPECT_FALSE(handler.company().contains("m4"));
  EXPECT_EQ(runner_->counts().crash_loops, 1u);
}

}  // namespace
}  // namespace oncemark::consume
