// The database away, read-only, full or fought over, while whole consumer processes work: nothing is lost, every
// effect happens once, no attempt is counted, and the worker's counters and log say what happened. Changes settings
// of the server and kills it, so it runs on a stack of its own.
#include "fault/loop/loop_fixture.hpp"

namespace oncemark {
namespace {

class Outage : public LoopTest {
 protected:
  static constexpr int kMessages = 400;

  Outage() { ::setenv("ONCEMARK_LOG", "debug", 1); }

  /// On a connection that is there for good, with all privileges.
  void as_root(const std::string& sql) { root_->control(sql); }
  static void stack(const std::string& command) {
    ASSERT_EQ(std::system((std::string(ONCEMARK_STACK) + " " + command + " >/dev/null 2>&1").c_str()), 0) << command;
  }
  /// The fault comes in the middle: some are done, some are in the handler, with their transactions open (and done ones
  /// in them, uncommitted), and the rest waits. It goes on when `hold` is taken away.
  void start_and_reach_the_middle() {
    room_.put("hold");
    send("plain", kMessages / 4, /*keys=*/50);
    send("gated", kMessages - kMessages / 4, /*keys=*/50);
    start_worker();
    ASSERT_TRUE(eventually(20s, [&] { return effects() > 0 && room_.is_any_running(); }));
  }
  void start_worker(std::vector<std::string> arguments = {}) {
    arguments.push_back("relays=no");
    worker_ = start("worker", std::move(arguments));
  }
  void kill_connections_of_the_worker() {
    for (const mysql::Row& row :
         root_->query("SELECT id FROM information_schema.processlist WHERE user = '" + account().user + "'", {})) {
      try {
        as_root("KILL " + std::to_string(row.get<std::int64_t>(0)));
      } catch (const std::exception&) {  // it has gone by itself
      }
    }
    root_->control("ROLLBACK");
  }
  /// The worker has met the error and says so in its log.
  [[nodiscard]] bool worker_has_met(const std::string& error) const {
    return worker_->log().find(error) != std::string::npos;
  }
  void expect_all_is_well() {
    ASSERT_TRUE(eventually(30s, [&] { return effects() == kMessages && committed() == kMessages; }))
        << effects() << " effects, position " << committed();
    EXPECT_EQ(worker_->stop(), 0);
    expect_each_effect_once(kMessages);
    expect_order_per_key();
    expect_no_attempt_burned();
    EXPECT_TRUE(worker_->counted("in_place_retries") > 0 || worker_has_met("a group failed and is run again"));
    // A commit in doubt that had reached the server is found as a duplicate of itself.
    EXPECT_EQ(worker_->counted("done") + worker_->counted("duplicates"), kMessages);
  }

  std::unique_ptr<mysql::Connection> root_ = pool_.connect(3600s);
  std::unique_ptr<Worker> worker_;
};

TEST_F(Outage, OfAServerThatIsKilledAndComesBackLosesNothing) {
  start_and_reach_the_middle();

  stack("kill mysql");
  room_.take("hold");
  ASSERT_TRUE(eventually(20s, [&] { return worker_has_met("the database does not answer"); }));
  stack("restart mysql");

  expect_all_is_well();
}

TEST_F(Outage, OfAServerThatIsAwayAtTheStartIsWaitedFor) {
  send("plain", kMessages, /*keys=*/50);
  (void)account();  // as long as it can be made
  stack("kill mysql");
  start_worker();
  EXPECT_TRUE(eventually(20s, [&] { return worker_has_met("the consumer starts when it does"); }));

  stack("restart mysql");

  EXPECT_TRUE(eventually(30s, [&] { return effects() == kMessages && committed() == kMessages; }));
  EXPECT_EQ(worker_->stop(), 0);
  expect_each_effect_once(kMessages);
}

TEST_F(Outage, OfAServerThatTurnsReadOnlyLosesNothing) {
  start_and_reach_the_middle();

  as_root("SET GLOBAL read_only = 1");
  room_.take("hold");
  EXPECT_TRUE(eventually(10s, [&] { return worker_has_met("mysql.1290"); }));
  EXPECT_TRUE(eventually(10s, [&] { return worker_has_met("the database does not answer"); }));
  as_root("SET GLOBAL read_only = 0");

  expect_all_is_well();
}

TEST_F(Outage, OfAServerWithoutAFreeConnectionLosesNothing) {
  start_and_reach_the_middle();
  const auto allowed = root_->query("SELECT @@max_connections", {}).at(0).get<std::int64_t>(0);
  root_->control("ROLLBACK");

  std::vector<std::unique_ptr<mysql::Connection>> others;
  for (int i = 0; i < 12; ++i) others.push_back(pool_.connect(3600s));
  as_root("SET GLOBAL max_connections = 10");
  kill_connections_of_the_worker();
  room_.take("hold");
  EXPECT_TRUE(eventually(10s, [&] { return worker_has_met("the database does not answer"); }));
  as_root("SET GLOBAL max_connections = " + std::to_string(allowed));
  others.clear();

  expect_all_is_well();
}

TEST_F(Outage, IsNotASessionThatIsKilled) {
  start_and_reach_the_middle();

  kill_connections_of_the_worker();
  room_.take("hold");

  expect_all_is_well();
}

TEST_F(Outage, IsNotAStormOfDeadlocks) {
  std::vector<std::pair<std::string, std::string>> messages;
  for (int i = 0; i < kMessages; ++i) {
    messages.emplace_back("lock-" + std::to_string(i % 2) + "-" + std::to_string(i), "key-" + std::to_string(i % 50));
  }
  send(messages);
  start_worker({"workers=8"});

  expect_all_is_well();
  EXPECT_EQ(count("SELECT MIN(n) FROM account"), kMessages);
  EXPECT_EQ(count("SELECT MAX(n) FROM account"), kMessages);
}

TEST_F(Outage, IsNotARowThatIsLockedForLong) {
  const auto holder = pool_.connect(3600s);
  holder->control("START TRANSACTION");
  (void)holder->query("SELECT * FROM account FOR UPDATE", {});
  std::vector<std::pair<std::string, std::string>> messages;
  for (int i = 0; i < kMessages; ++i) {
    messages.emplace_back("lock-0-" + std::to_string(i), "key-" + std::to_string(i % 50));
  }
  send(messages);
  start_worker({"lock_wait=1"});
  EXPECT_TRUE(eventually(20s, [&] { return worker_has_met("mysql.1205"); }));

  holder->control("ROLLBACK");

  expect_all_is_well();
}

}  // namespace
}  // namespace oncemark
