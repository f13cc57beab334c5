// The driver of parked sequences, and what lanes do with messages that were parked, without any store.
#include <atomic>
#include <chrono>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <stdexcept>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <oncemark/consume/runner.hpp>
#include <oncemark/core/error.hpp>
#include <oncemark/testing/builders.hpp>
#include <oncemark/testing/scripted_source.hpp>

#include "support/eventually.hpp"

namespace oncemark::consume {
namespace {

using namespace std::chrono_literals;
using ::testing::Contains;
using ::testing::Each;
using ::testing::ElementsAre;
using testing::eventually;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::message_with_id;
using testing::record_with_id;
using testing::ScriptedSource;

/// One sequence in memory; what its handler does is a function.
class FakeSequences final : public Sequences {
 public:
  using Work = std::function<void(const std::string& id)>;

  void park(std::vector<std::string> ids) {
    const std::lock_guard lock(mutex_);
    waiting_.assign(ids.begin(), ids.end());
    is_due_ = !waiting_.empty();
  }
  void when_run(Work work) { work_ = std::move(work); }
  void set_tries(std::uint32_t tries) { tries_ = tries; }
  [[nodiscard]] std::size_t left() const {
    const std::lock_guard lock(mutex_);
    return waiting_.size();
  }
  [[nodiscard]] std::vector<std::size_t> groups() const {
    const std::lock_guard lock(mutex_);
    return groups_;
  }
  [[nodiscard]] int put_backs() const { return put_backs_; }
  [[nodiscard]] Mode mode() const { return mode_; }
  /// As the router does with a head that is given up, or tried later.
  void settle_head(bool is_over) {
    const std::lock_guard lock(mutex_);
    if (is_over) waiting_.pop_front();
    is_due_ = !waiting_.empty();
  }

  void set_mode(Mode mode, const KeyOrder&, const std::string&) override { mode_ = mode; }
  Counts count() override {
    const std::lock_guard lock(mutex_);
    return {.keys = waiting_.empty() ? 0u : 1u, .stopped = 0, .messages = waiting_.size()};
  }
  bool is_full() const noexcept override { return is_full_; }
  std::vector<Due> next_due(std::size_t) override {
    const std::lock_guard lock(mutex_);
    if (!is_due_) return {};
    return {{.order_key = "k", .head_key = waiting_.front(), .wait = {}, .tries = tries_ - 1}};
  }
  std::vector<Taken> take(std::span<const Due> heads) override {
    const std::lock_guard lock(mutex_);
    if (!is_due_) return {};
    is_due_ = false;
    return {{.order_key = heads[0].order_key, .head_key = heads[0].head_key, .token = 7, .tries = tries_}};
  }
  Drained drain(const Taken&, std::size_t most) override {
    std::vector<std::string> group;
    {
      const std::lock_guard lock(mutex_);
      groups_.push_back(most);
      if (locked_ > 0) return {.is_over = false, .is_locked = true, .head_key = waiting_.front()};
      for (std::size_t i = 0; i < std::min(most, waiting_.size()); ++i) group.push_back(waiting_[i]);
    }
    std::size_t done = 0;
    try {
      for (; done < group.size(); ++done) work_(group[done]);
    } catch (...) {
      if (done == 0) {
        return {
            .is_over = false, .head = message_with_id(group.front()), .cause = {.failure = std::current_exception()}};
      }
    }
    const std::lock_guard lock(mutex_);
    waiting_.erase(waiting_.begin(), waiting_.begin() + static_cast<std::ptrdiff_t>(done));
    return {.done = done, .is_over = waiting_.empty(), .head_key = waiting_.empty() ? std::string() : waiting_.front()};
  }
  std::optional<Message> look_at_head(const Taken& taken) override { return message_with_id(taken.head_key); }
  bool put_back(const Taken&, std::chrono::milliseconds) override {
    ++put_backs_;
    if (locked_-- > 0) return false;
    const std::lock_guard lock(mutex_);
    is_due_ = !waiting_.empty();
    return true;
  }

  std::atomic<bool> is_full_{false};
  std::atomic<int> locked_{0};  // so often the head's row is locked elsewhere

 private:
  mutable std::mutex mutex_;
  std::deque<std::string> waiting_;  // guarded by mutex_, like the next two
  std::vector<std::size_t> groups_;
  bool is_due_ = false;
  Work work_ = [](const std::string&) {};
  std::uint32_t tries_ = 1;
  std::atomic<int> put_backs_{0};
  std::atomic<Mode> mode_{Mode::off};
};

/// Heads of many keys, with nothing behind them.
class ManyHeads final : public Sequences {
 public:
  using Work = std::function<void(std::size_t taken_together)>;
  struct Take {
    std::size_t heads = 0;
    bool has_suspect = false;
  };

  ManyHeads(std::size_t heads, std::size_t suspects) {
    for (std::size_t i = 0; i < heads; ++i) waiting_["k" + std::to_string(i)] = i < suspects ? 1 : 0;
  }
  void when_run(Work work) { work_ = std::move(work); }
  void wait_behind(const std::string& key, std::uint32_t messages) { depths_[key] = messages + 1; }
  void let_deep_ones_come_again() { comes_again_ = true; }
  /// How many messages each transaction might have run.
  [[nodiscard]] std::vector<std::size_t> allowed() const {
    const std::lock_guard lock(mutex_);
    return allowed_;
  }
  [[nodiscard]] std::vector<std::string> order() const {
    const std::lock_guard lock(mutex_);
    return order_;
  }
  [[nodiscard]] std::size_t left() const {
    const std::lock_guard lock(mutex_);
    return waiting_.size() + in_hand_;
  }
  [[nodiscard]] std::vector<Take> takes() const {
    const std::lock_guard lock(mutex_);
    return takes_;
  }
  [[nodiscard]] int put_backs() const { return put_backs_; }

  void set_mode(Mode, const KeyOrder&, const std::string&) override {}
  Counts count() override { return {.keys = left(), .stopped = 0, .messages = left()}; }
  bool is_full() const noexcept override { return false; }
  std::vector<Due> next_due(std::size_t most) override {
    const std::lock_guard lock(mutex_);
    std::vector<Due> due;
    for (const auto& [key, tries] : waiting_) {
      if (due.size() == most) break;
      const auto depth = depths_.find(key);
      due.push_back({.order_key = key,
                     .head_key = key,
                     .wait = {},
                     .tries = tries,
                     .depth = depth == depths_.end() ? 1 : depth->second});
    }
    return due;
  }
  std::vector<Taken> take(std::span<const Due> heads) override {
    const std::lock_guard lock(mutex_);
    std::vector<Taken> taken;
    Take& last = takes_.emplace_back();
    for (const Due& head : heads) {
      waiting_.erase(head.order_key);
      order_.push_back(head.order_key);
      ++in_hand_;
      ++last.heads;
      last.has_suspect |= head.tries > 0;
      taken.push_back({.order_key = head.order_key, .head_key = head.head_key, .token = 7, .tries = head.tries + 1});
    }
    return taken;
  }
  Drained drain(const Taken& taken, std::size_t most) override {
    work_(takes().back().heads);
    const std::lock_guard lock(mutex_);
    allowed_.push_back(most);
    --in_hand_;
    if (comes_again_ && depths_.contains(taken.order_key)) waiting_[taken.order_key] = 0;
    return {.done = 1};
  }
  std::optional<Message> look_at_head(const Taken& taken) override { return message_with_id(taken.head_key); }
  bool put_back(const Taken& taken, std::chrono::milliseconds) override {
    const std::lock_guard lock(mutex_);
    --in_hand_;
    ++put_backs_;
    waiting_[taken.order_key] = 0;
    return true;
  }

 private:
  Work work_ = [](std::size_t) {};
  std::atomic<int> put_backs_{0};
  mutable std::mutex mutex_;
  std::map<std::string, std::uint32_t> waiting_;  // guarded by mutex_, like all below; by key, their tries
  std::size_t in_hand_ = 0;
  std::vector<Take> takes_;
  std::vector<std::string> order_;
  std::vector<std::size_t> allowed_;
  std::map<std::string, std::uint32_t> depths_;
  bool comes_again_ = false;
};

/// Settles what it is told; everything else is done.
class FakeHandler final : public Handler {
 public:
  using Decide = std::function<Settled(const Message&)>;
  explicit FakeHandler(Sequences& sequences) : sequences_(sequences) {}

  const std::string& consumer() const override { return consumer_; }
  void prepare() override {}
  void identify(Message& message) const override { message.business_key = message.id; }
  Handled handle(std::span<const Message* const> group) override {
    std::vector<Settled> results;
    const std::lock_guard lock(mutex_);
    for (const Message* message : group) {
      results.push_back(decide_(*message));
      handled_.push_back(message->id);
    }
    return {.messages = std::move(results)};
  }
  bool is_reachable() noexcept override { return true; }
  Sequences* sequences() noexcept override { return &sequences_; }

  void decide(Decide decide) { decide_ = std::move(decide); }
  std::vector<std::string> handled() const {
    const std::lock_guard lock(mutex_);
    return handled_;
  }

 private:
  Sequences& sequences_;
  const std::string consumer_ = "shipping";
  Decide decide_ = [](const Message&) { return Settled{}; };
  mutable std::mutex mutex_;
  std::vector<std::string> handled_;  // guarded by mutex_
};

class FakeFailures final : public FailureSink {
 public:
  explicit FakeFailures(FakeSequences& sequences, bool is_kept = true) : sequences_(sequences), is_kept_(is_kept) {}
  std::vector<TopicNeed> prepare(const std::string&, const std::string&, const std::vector<std::string>&) override {
    return {};
  }
  Routed route(const Failure& failure) override {
    const std::lock_guard lock(mutex_);
    routed_.push_back(failure.message.id + "/" + failure.error.error_class +
                      (failure.sequence ? "/" + std::string(*failure.sequence) : ""));
    if (failure.sequence) sequences_.settle_head(/*is_over=*/true);
    return failure.sequence ? Routed::dead : Routed::parked;
  }
  KeyOrder key_order() const override { return {.is_kept = is_kept_}; }
  std::vector<std::string> routed() const {
    const std::lock_guard lock(mutex_);
    return routed_;
  }

 private:
  FakeSequences& sequences_;
  const bool is_kept_;
  mutable std::mutex mutex_;
  std::vector<std::string> routed_;  // guarded by mutex_
};

/// One driver works heads off.
template <typename Condition>
void work_off_until(ManyHeads& heads, Condition&& is_done) {
  ScriptedSource source;
  FakeHandler handler(heads);
  FakeSequences none;
  FakeFailures failures(none);
  Runner runner(source, handler, failures, {.workers = 1, .commit_interval = 1ms, .drivers = 1});
  std::jthread thread([&](const std::stop_token& stop) { runner.run(stop); });
  EXPECT_TRUE(eventually(10s, is_done));
}

void work_off(ManyHeads& heads) {
  work_off_until(heads, [&] { return heads.left() == 0; });
}

class ParkedDriverTest : public ::testing::Test {
 protected:
  void start(bool is_kept = true) {
    failures_ = std::make_unique<FakeFailures>(sequences_, is_kept);
    runner_ = std::make_unique<Runner>(
        source_, handler_, *failures_,
        RunnerOptions{
            .workers = 2, .commit_interval = 1ms, .in_place = {.initial = 1ms, .cap = 2ms}, .in_place_tries = 3});
    thread_ = std::jthread([this](const std::stop_token& stop) { runner_->run(stop); });
  }
  void stop() {
    thread_.request_stop();
    thread_.join();
  }

  ScriptedSource source_;
  FakeSequences sequences_;
  FakeHandler handler_{sequences_};
  std::unique_ptr<FakeFailures> failures_;
  std::unique_ptr<Runner> runner_;
  std::jthread thread_;
};

TEST(ParkedDriver, TakesFirstWhatMostWaitBehindInMostRounds) {
  int deepest_first = 0;
  for (int i = 0; i < 20; ++i) {
    ManyHeads heads(30, 0);
    heads.wait_behind("k17", 5);
    heads.wait_behind("k3", 40);
    work_off(heads);
    if (heads.order().front() == "k3") ++deepest_first;
  }

  EXPECT_GE(deepest_first, 6) << "15 are to be expected, and one if they came in any order";
}

TEST(ParkedDriver, GivesOneThatNothingWaitsBehindItsTurnAmongDeepOnesThatNeverEnd) {
  ManyHeads heads(21, 0);
  for (int i = 0; i < 20; ++i) heads.wait_behind("k" + std::to_string(i), 5);
  heads.let_deep_ones_come_again();

  work_off_until(heads, [&] { return std::ranges::count(heads.order(), std::string("k20")) == 1; });
}

TEST_F(ParkedDriverTest, RunsAHeadAloneAndThenGrowingGroups) {
  std::vector<std::string> ids;
  for (int i = 0; i < 10; ++i) ids.push_back("m" + std::to_string(i));
  sequences_.park(ids);

  start();
  ASSERT_TRUE(eventually(10s, [&] { return sequences_.left() == 0; }));
  stop();

  EXPECT_THAT(sequences_.groups(), ElementsAre(1, 8, 16));
  EXPECT_EQ(runner_->counts().unparked, 10u);
  EXPECT_EQ(runner_->counts().done, 10u);
}

TEST_F(ParkedDriverTest, RunsEachAloneWhereProcessesMayHaveDiedOfOne) {
  sequences_.park({"m0", "m1", "m2"});
  sequences_.set_tries(2);

  start();
  ASSERT_TRUE(eventually(10s, [&] { return sequences_.left() == 0; }));
  stop();

  EXPECT_THAT(sequences_.groups(), ElementsAre(1, 1, 1));
}

TEST_F(ParkedDriverTest, RoutesTheOneThatFailsAmongThoseBehindAHead) {
  sequences_.park({"m0", "m1", "bad", "m3"});
  sequences_.when_run([](const std::string& id) {
    if (id == "bad") throw std::runtime_error("not yet");
  });

  start();
  ASSERT_TRUE(eventually(10s, [&] { return sequences_.left() == 0; }));
  stop();

  EXPECT_THAT(failures_->routed(), ElementsAre("bad/std::runtime_error/k"));
  EXPECT_EQ(runner_->counts().dead, 1u);
  EXPECT_EQ(runner_->counts().unparked, 3u);
}

TEST_F(ParkedDriverTest, PutsAHeadBackWhenTheServersAreToBlame) {
  std::atomic<int> failures{2};
  sequences_.park({"m0"});
  sequences_.when_run([&](const std::string&) {
    if (failures-- > 0) throw InDoubtError("the connection was lost");
  });

  start();
  ASSERT_TRUE(eventually(10s, [&] { return sequences_.left() == 0; }));
  stop();

  EXPECT_THAT(failures_->routed(), IsEmpty());
}

TEST_F(ParkedDriverTest, GivesAHeadBackOnceItsRowIsNotLockedAnyMore) {
  sequences_.park({"m0"});
  sequences_.locked_ = 3;

  start();
  ASSERT_TRUE(eventually(10s, [&] { return sequences_.left() == 0; }));
  stop();

  EXPECT_EQ(sequences_.put_backs(), 4);
}

TEST_F(ParkedDriverTest, BlamesAHeadOnlyWhenOthersSucceedMeanwhile) {
  std::atomic<bool> is_down{true};
  sequences_.park({"m0"});
  sequences_.when_run([&](const std::string&) {
    if (is_down) throw UnavailableError("the warehouse is down");
  });

  start();
  ASSERT_TRUE(eventually(10s, [&] { return sequences_.put_backs() >= 8; }));
  EXPECT_THAT(failures_->routed(), IsEmpty()) << "nothing else succeeded: it is the warehouse";
  EXPECT_EQ(runner_->counts().breaker_opened, 0u) << "no lane has anything to probe with";
  for (int i = 0; i < 200; ++i) source_.add(record_with_id("o" + std::to_string(i), {"orders", 0, i}));
  ASSERT_TRUE(eventually(10s, [&] { return sequences_.left() == 0; }));
  stop();

  EXPECT_THAT(failures_->routed(), ElementsAre("m0/unavailable/k"));
}

TEST_F(ParkedDriverTest, DoesNotRunAHeadThatProcessesDiedOf) {
  std::atomic<int> runs{0};
  sequences_.park({"m0"});
  sequences_.set_tries(4);
  sequences_.when_run([&](const std::string&) { ++runs; });

  start();
  ASSERT_TRUE(eventually(10s, [&] { return sequences_.left() == 0; }));
  stop();

  EXPECT_THAT(failures_->routed(), ElementsAre("m0/crash_loop/k"));
  EXPECT_EQ(runs, 0);
}

TEST(ParkedDriver, TakesSeveralHeadsAtOnceButThoseThatProcessesMayHaveDiedOfAlone) {
  ManyHeads heads(40, 5);

  work_off(heads);

  std::size_t most = 0;
  for (const ManyHeads::Take& take : heads.takes()) {
    most = std::max(most, take.heads);
    EXPECT_TRUE(!take.has_suspect || take.heads == 1) << "a neighbour's try would count against them";
  }
  EXPECT_GT(most, 1u);
  EXPECT_EQ(heads.put_backs(), 0);
}

TEST(ParkedDriver, GivesBackWhatWouldWaitForASlowHandler) {
  ManyHeads heads(40, 0);
  std::atomic<bool> has_slept{false};
  heads.when_run([&](std::size_t taken_together) {
    if (taken_together > 2 && !has_slept.exchange(true)) std::this_thread::sleep_for(250ms);  // longer than a slice
  });

  work_off(heads);

  EXPECT_TRUE(has_slept);
  EXPECT_GE(heads.put_backs(), 2);
}

TEST(ParkedDriver, LetsWhatWaitsBehindAHeadRideAlongWhereTransactionsAreQuick) {
  ManyHeads heads(40, 0);

  work_off(heads);

  EXPECT_EQ(heads.allowed().front(), 1u) << "nothing is known yet";
  EXPECT_THAT(heads.allowed(), Contains(8u));
}

TEST(ParkedDriver, LocksNothingBehindAHeadWhereHandlersAreSlow) {
  ManyHeads heads(5, 0);
  heads.when_run([](std::size_t) { std::this_thread::sleep_for(25ms); });

  work_off(heads);

  EXPECT_THAT(heads.allowed(), Each(1u));
}

TEST_F(ParkedDriverTest, WorksOffWhatIsLeftWhereNoOrderIsKeptAndThenStopsLooking) {
  sequences_.park({"m0", "m1"});

  start(/*is_kept=*/false);

  ASSERT_TRUE(eventually(10s, [&] { return sequences_.left() == 0; }));
  EXPECT_TRUE(eventually(10s, [&] { return sequences_.mode() == Sequences::Mode::off; }));
  stop();
}

TEST_F(ParkedDriverTest, DoesNothingWhereNothingIsParkedAndNoOrderIsKept) {
  source_.add(record_with_id("m0", {"orders", 0, 0}));

  start(/*is_kept=*/false);
  ASSERT_TRUE(source_.wait_for_commit("orders", 1));
  stop();

  EXPECT_EQ(sequences_.mode(), Sequences::Mode::off);
  EXPECT_THAT(sequences_.groups(), IsEmpty());
}

TEST_F(ParkedDriverTest, SettlesWhatWasParkedAndTakesUpAgainWhatWasLeft) {
  for (int i = 0; i < 3; ++i) source_.add(record_with_id("m" + std::to_string(i), {"orders", 0, i}, "key"));
  std::map<std::string, int> left{{"m0", 0}, {"m1", 2}, {"m2", 3}};
  handler_.decide([&](const Message& message) -> Settled {
    return {.outcome = left[message.id]-- > 0 ? Outcome::unsettled : Outcome::parked};
  });

  start();
  EXPECT_TRUE(source_.wait_for_commit("orders", 3));
  stop();

  EXPECT_EQ(runner_->counts().parked, 3u);
  EXPECT_EQ(handler_.handled().front(), "m0");
  EXPECT_EQ(handler_.handled().back(), "m2") << "a message came before an earlier one of its key";
}

TEST_F(ParkedDriverTest, HoldsAMessageThatHasNoRoomAndRoutesNoFailureWhileAllIsFull) {
  source_.add(record_with_id("m0", {"orders", 0, 0}, "key"));
  source_.add(record_with_id("bad", {"orders", 0, 1}, "other"));
  std::atomic<bool> has_room{false};
  sequences_.is_full_ = true;
  handler_.decide([&](const Message& message) -> Settled {
    if (message.id == "bad") return {.failure = std::make_exception_ptr(std::runtime_error("not yet"))};
    if (has_room) return {.outcome = Outcome::parked};
    return {.failure = std::make_exception_ptr(SequenceFullError("no room")), .is_held = true};
  });

  start();
  ASSERT_TRUE(eventually(10s, [&] { return std::ranges::count(handler_.handled(), "m0") >= 3; }));
  EXPECT_LE(source_.committed("orders"), 0);
  EXPECT_THAT(failures_->routed(), IsEmpty());
  has_room = true;
  sequences_.is_full_ = false;
  EXPECT_TRUE(source_.wait_for_commit("orders", 2));
  stop();

  EXPECT_THAT(failures_->routed(), ElementsAre("bad/std::runtime_error"));
  EXPECT_EQ(runner_->counts().parked, 2u);
}

}  // namespace
}  // namespace oncemark::consume
