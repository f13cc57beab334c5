// Processes that are paused while they hold a partition, and wake up when it is another's.
#include "fault/loop/loop_fixture.hpp"

namespace oncemark {
namespace {

class Zombies : public LoopTest {
 protected:
  static constexpr int kMessages = 40;

  /// The first owner stands still inside the handler of gated-20; the second one has taken its partition.
  void pause_the_owner(const std::vector<std::string>& arguments) {
    room_.put("hold");
    send("plain", 20);
    send({{"gated-20", "key-0"}});
    sent_ = 21;
    owner_ = start("owner", arguments);
    ASSERT_TRUE(eventually(20s, [&] { return room_.is_running("gated-20"); }));
    owner_->send(SIGSTOP);
    room_.take("running.gated-20");
    room_.take("hold");
    send("plain", kMessages - sent_);
    heir_ = start("heir", arguments);
  }
  /// The position was never past a message without an effect. One partition, so offset n is message n.
  void expect_position_behind_effects() {
    const std::int64_t position = committed();
    const auto missing = pool_.transact([](mysql::Transaction& tx) {
      std::vector<bool> there(kMessages, false);
      for (const mysql::Row& row : tx.query("SELECT CAST(message_id AS CHAR) FROM effect")) {
        const auto id = row.get<std::string>(0);
        there.at(static_cast<std::size_t>(std::stoi(id.substr(id.rfind('-') + 1)))) = true;
      }
      return std::distance(there.begin(), std::find(there.begin(), there.end(), false));
    });
    EXPECT_LE(position, missing);
  }
  void expect_a_clean_end() {
    EXPECT_TRUE(eventually(20s, [&] {
      expect_position_behind_effects();
      return committed() == kMessages;
    }));
    EXPECT_EQ(heir_->stop(), 0);
    (void)owner_->stop();
    expect_each_effect_once(kMessages);
    expect_order_per_key();
    expect_no_attempt_burned();
    EXPECT_EQ(count("SELECT COUNT(*) FROM suspect_message"), 0);
  }

  std::unique_ptr<Worker> owner_;
  std::unique_ptr<Worker> heir_;
};

TEST_F(Zombies, ThatWakeUpWhileTheirHeirWaitsForTheirClaimFinishTheMessage) {
  pause_the_owner({"session=1000"});
  // The heir comes to the claim that the sleeper holds.
  ASSERT_TRUE(eventually(20s, [&] {
    expect_position_behind_effects();
    // Not from innodb_trx: it is a cache that is not refreshed while it is read more often than every 0.1 s.
    return count(
               "SELECT COUNT(*) FROM information_schema.processlist WHERE db = DATABASE() AND time_ms > 200 "
               "AND info LIKE 'INSERT INTO consumed_message%'") > 0;
  }));

  owner_->send(SIGCONT);

  expect_a_clean_end();
}

TEST_F(Zombies, ThatLostTheirSessionChangeNothingWhenTheyWakeUp) {
  pause_the_owner({"session=1000", "wait_timeout=2"});
  ASSERT_TRUE(eventually(20s, [&] {
    expect_position_behind_effects();
    return effects() == kMessages;
  })) << "the sleeper's locks hold the heir up";

  owner_->send(SIGCONT);

  expect_a_clean_end();
}

}  // namespace
}  // namespace oncemark
