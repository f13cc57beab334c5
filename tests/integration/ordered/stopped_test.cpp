// A head that is dead: what its key does then, and what people can do about it.
#include "integration/ordered/ordered_fixture.hpp"

namespace oncemark {
namespace {

using ::testing::ElementsAre;

class StoppedTest : public OrderedTest {
 protected:
  /// Key a: a0 is dead, a1 and a2 wait; key b goes on.
  void SetUp() override {
    script_.fail("a0", 1'000, [](const Message&) { throw PermanentError("no address"); });
    instance_ = start(log_of({"a0", "a1", "b0", "a2"}));
    ASSERT_TRUE(eventually(10s, [&] { return in_state("dead") == 1 && parked() == 3 && effects() == 1; }));
  }
  dead_letter::ReplayJob replay(const dead_letter::Selection& selection) {
    dead_letter::Replay replay(pool_);
    (void)replay.start({.selection = selection, .operator_name = "test", .reason = "fixed"});
    return replay.run({}, {});
  }
  dead_letter::Handled skip(const std::string& key) {
    return pool_.transact(
        [&](mysql::Transaction& tx) { return dead_letter::skip(tx, "shipping", key, {.operator_name = "test"}); });
  }
  dead_letter::Handled release() {
    return pool_.transact([&](mysql::Transaction& tx) {
      const auto sequences = dead_letter::find_sequences(tx, {.consumer = "shipping", .only_stopped = true}, 10);
      return dead_letter::release(tx, sequences.at(0), {.operator_name = "test", .reason = "given up"});
    });
  }
  void expect_rest_to_follow(std::size_t of_a) {
    ASSERT_TRUE(eventually(10s, [&] { return effects_of("a").size() == of_a && parked() == 0; }));
    expect_all_over();
  }

  std::unique_ptr<Instance> instance_;
};

TEST_F(StoppedTest, KeepsItsPlaceAndItsKeyWaits) {
  expect_sound();
  EXPECT_EQ(count("SELECT COUNT(*) FROM parked_key WHERE due_at IS NULL AND head_key = 'a0' AND depth = 3"), 1);
  EXPECT_EQ(count("SELECT COUNT(*) FROM outbox_message WHERE purpose = 'dlq:shipping:1'"), 1);
  EXPECT_TRUE(instance_->source().wait_for_commit("orders", 4));
  EXPECT_EQ(script_.runs("a1"), 0);
}

TEST_F(StoppedTest, IsReplayedInItsPlaceAndTheSequenceFollowsInOrder) {
  script_.heal("a0");

  EXPECT_EQ(replay({.consumer = "shipping"}).replayed, 1u);

  expect_rest_to_follow(3);
  EXPECT_THAT(effects_of("a"), ElementsAre("a0", "a1", "a2"));
  EXPECT_EQ(count("SELECT life FROM effect WHERE message_id = 'a0'"), 2);
  EXPECT_EQ(count("SELECT COUNT(*) FROM dead_letter WHERE state = 'replayed'"), 1);
  EXPECT_EQ(count("SELECT COUNT(*) FROM outbox_message WHERE purpose LIKE 'retry:%'"), 0) << "it was sent somewhere";
}

TEST_F(StoppedTest, DiesAgainInItsPlaceWithALetterALife) {
  (void)replay({.consumer = "shipping"});

  ASSERT_TRUE(eventually(10s, [&] { return count("SELECT COUNT(*) FROM dead_letter") == 2; }));

  ASSERT_TRUE(eventually(10s, [&] { return count("SELECT COUNT(*) FROM parked_key WHERE due_at IS NULL") == 1; }));
  EXPECT_EQ(count("SELECT COUNT(*) FROM dead_letter WHERE life = 1 AND state = 'replayed'"), 1);
  EXPECT_EQ(count("SELECT COUNT(*) FROM dead_letter WHERE life = 2 AND state = 'dead' AND attempts = 1"), 1);
  EXPECT_EQ(effects_of("a").size(), 0u);
  expect_sound();
}

TEST_F(StoppedTest, LetsItsKeyGoOnWhenItIsReleasedAndStaysALetter) {
  EXPECT_TRUE(release().is_done);

  expect_rest_to_follow(2);
  EXPECT_THAT(effects_of("a"), ElementsAre("a1", "a2"));
  EXPECT_EQ(in_state("dead"), 1);
  EXPECT_EQ(count("SELECT COUNT(*) FROM replay_audit WHERE action = 'release' AND letter_id > 0"), 1);
  script_.heal("a0");
  EXPECT_EQ(replay({.consumer = "shipping"}).replayed, 1u);
  EXPECT_EQ(in_state("retrying"), 1) << "out of order now, by the retry topic";
}

TEST_F(StoppedTest, IsDiscardedWithItsLetter) {
  EXPECT_TRUE(skip("a0").is_done);

  expect_rest_to_follow(2);
  EXPECT_EQ(in_state("discarded"), 1);
  EXPECT_EQ(count("SELECT COUNT(*) FROM dead_letter WHERE state = 'discarded'"), 1);
}

TEST_F(StoppedTest, AFollowerCanBeSkippedToo) {
  EXPECT_TRUE(skip("a1").is_done);
  expect_sound();
  EXPECT_EQ(count("SELECT depth FROM parked_key"), 2);
  script_.heal("a0");
  (void)replay({.consumer = "shipping"});

  expect_rest_to_follow(2);
  EXPECT_THAT(effects_of("a"), ElementsAre("a0", "a2"));
}

TEST_F(StoppedTest, OnlyADeadHeadIsReleased) {
  script_.heal("a0");
  const auto sequence = pool_.transact(
      [](mysql::Transaction& tx) { return dead_letter::find_sequences(tx, {.consumer = "shipping"}, 10).at(0); });
  (void)replay({.consumer = "shipping"});
  expect_rest_to_follow(3);

  const auto handled = pool_.transact(
      [&](mysql::Transaction& tx) { return dead_letter::release(tx, sequence, {.operator_name = "test"}); });

  EXPECT_FALSE(handled.is_done);
  EXPECT_EQ(handled.outcome, "skipped:done");
}

TEST_F(OrderedTest, AKeyGoesOnWithoutItsDeadMessageWhenToldSo) {
  script_.always_fail("a0");
  script_.fail("a2", 1'000, [](const Message&) { throw PermanentError("no address"); });
  auto instance = start(
      log_of({"a0", "a1", "a2", "a3"}),
      {.retries = {.delays = {30ms, 30ms}, .order = retry::Order::by_key, .on_dead = retry::OnDead::continue_key}});

  ASSERT_TRUE(eventually(10s, [&] { return effects() == 2 && in_state("dead") == 2; }));

  EXPECT_THAT(effects_of("a"), ElementsAre("a1", "a3"));
  EXPECT_EQ(count("SELECT COUNT(*) FROM dead_letter WHERE message_id = 'a0' AND attempts = 3"), 1);
  EXPECT_EQ(count("SELECT COUNT(*) FROM outbox_message WHERE purpose = 'dlq:shipping:1'"), 2);
  expect_all_over();
}

TEST_F(OrderedTest, ARuleMayDiscardAHeadAndItsKeyGoesOn) {
  script_.fail("a0", 2, [](const Message& message) {
    if (message.attempt == 1) throw std::runtime_error("not yet");
    throw std::domain_error("nobody wants it");
  });
  auto instance = start(log_of({"a0", "a1"}),
                        {.retries = {.delays = {30ms},
                                     .rules = {{.errors = {"std::domain_error"}, .action = retry::Action::discard}},
                                     .order = retry::Order::by_key}});

  ASSERT_TRUE(eventually(10s, [&] { return effects() == 1; }));

  EXPECT_THAT(effects_of("a"), ElementsAre("a1"));
  EXPECT_EQ(in_state("discarded"), 1);
  EXPECT_EQ(count("SELECT COUNT(*) FROM replay_audit WHERE outcome = 'discarded'"), 1);
  expect_all_over();
}

}  // namespace
}  // namespace oncemark
