// What a runner takes together, and in which order.
#include <oncemark/consume/runner.hpp>

#include <algorithm>
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

using testing::record_with_id;
using testing::ScriptedSource;

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

}  // namespace
}  // namespace oncemark::consume
