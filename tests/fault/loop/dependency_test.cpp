// What handlers depend on is down for a while: 5 s, or ONCEMARK_TEST_OUTAGE_SECONDS.
#include <cstdlib>

#include "fault/loop/loop_fixture.hpp"

namespace oncemark {
namespace {

class Dependency : public LoopTest {
 protected:
  static constexpr int kMessages = 300;

  static std::chrono::seconds outage() {
    const char* seconds = std::getenv("ONCEMARK_TEST_OUTAGE_SECONDS");
    return std::chrono::seconds(seconds == nullptr ? 5 : std::atoi(seconds));
  }
  /// Comes back after the outage, in which nothing was dead-lettered; then everything is done.
  void be_down_for_a_while() {
    const auto until = std::chrono::steady_clock::now() + outage();
    while (std::chrono::steady_clock::now() < until) {
      ASSERT_EQ(count("SELECT COUNT(*) FROM dead_letter"), 0);
      ASSERT_FALSE(worker_->has_ended());
      (void)eventually(200ms, [&] { return worker_->has_ended(); });
    }
    EXPECT_EQ(effects(), 0);
    room_.take("down");
    ASSERT_TRUE(eventually(40s, [&] { return effects() == kMessages && committed() == kMessages; }));
    EXPECT_EQ(worker_->stop(), 0);
    expect_each_effect_once(kMessages);
    EXPECT_GE(worker_->counted("breaker_opened"), 1);
    EXPECT_GE(worker_->counted("probes"), 2);
    EXPECT_EQ(count("SELECT COUNT(*) FROM dead_letter"), 0);
  }

  std::unique_ptr<Worker> worker_;
};

TEST_F(Dependency, ThatHandlersReportAsUnavailableCostsNoAttempt) {
  room_.put("down");
  send("needs", kMessages, /*keys=*/100);
  worker_ = start("worker", {"probe=200"});

  be_down_for_a_while();

  expect_no_attempt_burned();
  expect_order_per_key();
}

TEST_F(Dependency, ThatMakesHandlersThrowCostsOnlyTheAttemptsThatShowedIt) {
  room_.put("down");
  send("asks", kMessages, /*keys=*/100);
  worker_ = start("worker", {"probe=200", "delay=1000"});

  be_down_for_a_while();

  EXPECT_LT(count("SELECT SUM(attempt) FROM consumed_message"), 30);
}

}  // namespace
}  // namespace oncemark
