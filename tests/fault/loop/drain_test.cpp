// What a consumer finishes before it lets its partitions go, and how fast it gets them back.
#include "fault/loop/loop_fixture.hpp"

namespace oncemark {
namespace {

class Drain : public LoopTest {
 protected:
  /// A worker in the middle of the handler of gated-3; three messages before it are done, two wait behind it.
  std::unique_ptr<Worker> start_in_the_middle(const std::vector<std::string>& arguments) {
    room_.put("hold");
    send("plain", 3);
    send({{"gated-3", "key-0"}, {"plain-4", "key-0"}, {"plain-5", "key-0"}});
    auto worker = start("worker", arguments);
    EXPECT_TRUE(eventually(20s, [&] { return room_.is_running("gated-3"); }));
    return worker;
  }
};

TEST_F(Drain, OnSigtermFinishesWhatRunsAndCommitsIt) {
  auto worker = start_in_the_middle({});

  worker->send(SIGTERM);
  room_.take("hold");

  EXPECT_EQ(worker->wait(), 0);
  EXPECT_GE(effects(), 4);
  EXPECT_EQ(committed(), effects()) << "what was done is committed, and nothing else";
}

TEST_F(Drain, OnARebalanceFinishesAndCommitsBeforeTheNextOwnerReads) {
  auto worker = start_in_the_middle({});

  auto heir = start("heir", {});
  ASSERT_TRUE(eventually(20s, [&] { return testing::group_state(Stack::brokers(), group_) == "PreparingRebalance"; }));
  room_.take("hold");
  ASSERT_TRUE(eventually(20s, [&] { return effects() == 6 && committed() == 6; }));

  EXPECT_EQ(worker->stop(), 0);
  EXPECT_EQ(heir->stop(), 0);
  EXPECT_EQ(worker->counted("duplicates") + heir->counted("duplicates"), 0);
  expect_each_effect_once(6);
  expect_order_per_key();
}

TEST_F(Drain, IsBoundedWhenAHandlerHangs) {
  auto worker = start_in_the_middle({"drain=300", "wait_timeout=2"});

  auto heir = start("heir", {});
  worker->send(SIGTERM);

  // The heir has the partition, though the worker's handler still hangs, and finds it free when its session is gone.
  room_.take("hold");
  ASSERT_TRUE(eventually(20s, [&] { return effects() == 6; }));
  EXPECT_EQ(worker->wait(), 0);
  EXPECT_EQ(heir->stop(), 0);
  expect_each_effect_once(6);
}

TEST_F(Drain, IsNotNeededByAStaticMemberThatComesBackWithinItsSession) {
  send("plain", 3);
  auto worker = start("worker", {"session=20000", "poll=30000"});
  ASSERT_TRUE(eventually(20s, [&] { return effects() == 3; }));
  worker->send(SIGKILL);
  ASSERT_TRUE(worker->dies_by_kill(5s));
  send("plain", 3);

  const auto begin = std::chrono::steady_clock::now();
  worker = start("worker", {"session=20000", "poll=30000"});
  ASSERT_TRUE(eventually(20s, [&] { return effects() == 6; }));

  EXPECT_LT(std::chrono::steady_clock::now() - begin, 15s) << "it waited for the session of its former life";
  EXPECT_EQ(worker->stop(), 0);
}

}  // namespace
}  // namespace oncemark
