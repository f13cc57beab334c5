// Messages that end the process that handles them, and a supervisor that starts it again and again.
#include "fault/loop/loop_fixture.hpp"

namespace oncemark {
namespace {

using CrashLoops = LoopTest;

TEST_F(CrashLoops, AreFoundIsolatedAndDeadLetteredWhileThePartitionGoesOn) {
  send("plain", 10);
  send({{"crash-10", "key-0"}});
  send("plain", 10);
  send({{"crash-20", "key-1"}});
  send("plain", 10);

  auto worker = start("worker");
  int deaths = 0;
  const auto is_over = [&] {
    return effects() == 30 && count("SELECT COUNT(*) FROM dead_letter") == 2 && committed() == 32;
  };
  ASSERT_TRUE(eventually(50s,
                         [&] {
                           if (worker->has_ended()) {
                             ++deaths;
                             worker = start("worker");
                           }
                           return is_over();
                         }))
      << "after " << deaths << " deaths";

  expect_each_effect_once(30);
  EXPECT_EQ(count("SELECT COUNT(*) FROM dead_letter WHERE error_class = 'crash_loop' AND message_id LIKE 'crash-%'"),
            2);
  EXPECT_GE(deaths, 4) << "each is run three times, one of them alone; twice they may die together";
  EXPECT_LE(deaths, 6);
  EXPECT_EQ(worker->stop(), 0);
  EXPECT_GE(worker->counted("crash_loops"), 1);
  EXPECT_EQ(count("SELECT COUNT(*) FROM suspect_message"), 0);
}

TEST_F(CrashLoops, AreNotSeenInCleanStops) {
  room_.put("down");
  send({{"needs-0", "key-0"}});

  for (int stops = 0; stops < 4; ++stops) {
    auto worker = start("worker");
    ASSERT_TRUE(eventually(20s, [&] { return count("SELECT COUNT(*) FROM suspect_message") == 1; }));
    EXPECT_EQ(count("SELECT MAX(tries) FROM suspect_message"), 1);
    EXPECT_EQ(worker->stop(), 0);
    EXPECT_EQ(count("SELECT COUNT(*) FROM suspect_message"), 0) << "the note was not withdrawn";
  }
  room_.take("down");
  auto worker = start("worker");

  ASSERT_TRUE(eventually(20s, [&] { return effects() == 1; }));
  expect_no_attempt_burned();
}

}  // namespace
}  // namespace oncemark
