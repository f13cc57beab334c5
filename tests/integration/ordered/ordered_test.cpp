// Retries that keep the order of a key: what a failed message means for those behind it, and for all others.
#include <oncemark/ledger/parked.hpp>
#include <oncemark/message/codec.hpp>

#include "integration/ordered/ordered_fixture.hpp"

namespace oncemark {
namespace {

using ::testing::ElementsAre;

TEST_F(OrderedTest, LaterMessagesOfAKeyWaitBehindItsFailedOneAndOthersGoOn) {
  script_.fail("a0", 2);
  script_.close_gate("a0");
  auto instance = start(log_of({"a0", "a1", "b0", "a2", "b1"}));

  ASSERT_TRUE(eventually(10s, [&] { return effects_of("b").size() == 2; }));
  script_.open_gate("a0");
  ASSERT_TRUE(eventually(10s, [&] { return effects() == 5; }));
  ASSERT_TRUE(instance->source().wait_for_commit("orders", 5));
  instance->stop();

  EXPECT_THAT(effects_of("a"), ElementsAre("a0", "a1", "a2"));
  EXPECT_EQ(count("SELECT attempt FROM effect WHERE message_id = 'a0'"), 3);
  EXPECT_EQ(instance->counts().done, 5u);
  EXPECT_EQ(count("SELECT COUNT(*) FROM outbox_message"), 0) << "a parked message left the database";
  expect_all_over();
}

TEST_F(OrderedTest, IsSettledForItsPositionWhileItWaits) {
  script_.always_fail("a0");
  auto instance = start(log_of({"a0", "a1", "a2"}), {.retries = {.delays = {10s}, .order = retry::Order::by_key}});

  EXPECT_TRUE(instance->source().wait_for_commit("orders", 3));

  EXPECT_EQ(in_state("parked"), 3);
  expect_sound();
}

TEST_F(OrderedTest, AFollowerThatFailsIsTriedInItsPlace) {
  script_.fail("a0", 1);
  script_.fail("a2", 2);
  script_.fail("a3", 1);
  auto instance = start(log_of({"a0", "a1", "a2", "a3", "a4"}));

  ASSERT_TRUE(eventually(10s, [&] { return effects() == 5; }));

  EXPECT_THAT(effects_of("a"), ElementsAre("a0", "a1", "a2", "a3", "a4"));
  EXPECT_EQ(count("SELECT attempt FROM effect WHERE message_id = 'a2'"), 3);
  expect_all_over();
}

TEST_F(OrderedTest, MembersOfOneGroupDoNotOvertakeEachOther) {
  // They wait together while the lanes are busy, and so share a transaction.
  script_.close_gate("x0");
  script_.fail("a1", 1);
  auto instance = start(log_of({"x0"}), {.workers = 1});
  ASSERT_TRUE(eventually(10s, [&] { return script_.is_at_gate("x0"); }));
  for (const Record& record : log_of({"a0", "a1", "b0", "a2", "a2", "b1", "a3"}, 1)) instance->source().add(record);
  std::this_thread::yield();
  script_.open_gate("x0");

  ASSERT_TRUE(eventually(10s, [&] { return effects() == 7; }));
  EXPECT_TRUE(instance->source().wait_for_commit("orders", 8));
  EXPECT_THAT(effects_of("a"), ElementsAre("a0", "a1", "a2", "a3"));
  expect_all_over();
}

TEST_F(OrderedTest, FailuresAndFollowersOfAGroupShareATransaction) {
  dead_letter::Router router(pool_, {.retries = {.delays = {1h}, .order = retry::Order::by_key}});
  inbox::Dedup handler(pool_, {.consumer = "shipping", .effects = Effects::transaction},
                       [](const Message&, mysql::Transaction&) { throw std::runtime_error("not yet"); });
  handler.sequences()->set_mode(consume::Sequences::Mode::keep, router.key_order(), "g");
  const auto handle = [&](const std::vector<std::string>& ids, std::int64_t offset) {
    std::vector<Message> messages;
    for (const Record& record : log_of(ids, offset)) messages.push_back(decode_source_record(record));
    for (Message& message : messages) handler.identify(message);
    const auto settled = handler.handle(testing::pointers_to(messages)).messages;
    std::vector<consume::Failure> failures;
    for (std::size_t i = 0; i < settled.size(); ++i) {
      if (!settled[i].failure) continue;
      failures.push_back({.message = messages[i],
                          .consumer = "shipping",
                          .group = "g",
                          .error = {.error_class = "std::runtime_error", .text = "not yet"}});
    }
    (void)router.route_all(failures);
  };

  handle({"c0", "a0", "b0"}, 0);
  handle({"c1", "a1", "b1", "b2"}, 3);

  EXPECT_EQ(parked(), 7);
  EXPECT_EQ(count("SELECT COUNT(DISTINCT due_at) FROM parked_key"), 1) << "they failed by one clock";
  EXPECT_EQ(count("SELECT COUNT(DISTINCT token) FROM consumed_message WHERE message_key IN ('a1', 'b1', 'b2', 'c1')"),
            1)
      << "what was claimed by one statement has one token";
  expect_sound();
}

TEST_F(OrderedTest, AKeyWithoutRoomDoesNotKeepItsNeighboursFromBeingParked) {
  for (const char* id : {"a0", "b0"}) script_.always_fail(id);
  script_.close_gate("x0");
  auto instance =
      start(log_of({"a0", "b0", "x0"}),
            {.retries = {.delays = {1h}, .order = retry::Order::by_key, .max_parked_per_key = 2}, .workers = 1});
  ASSERT_TRUE(eventually(10s, [&] { return script_.is_at_gate("x0") && parked() == 2; }));
  for (const Record& record : log_of({"a1", "a2", "b1"}, 3)) instance->source().add(record);
  script_.open_gate("x0");

  ASSERT_TRUE(eventually(10s, [&] { return parked() == 4; }));

  EXPECT_EQ(count("SELECT COUNT(*) FROM parked_message WHERE message_key IN ('a0', 'a1', 'b0', 'b1')"), 4);
  expect_sound();
}

TEST_F(OrderedTest, ABatchKeepsTheOrderToo) {
  for (const char* id : {"a1", "a4", "b2"}) script_.fail(id, 1);
  std::vector<std::string> ids;
  for (int i = 0; i < 10; ++i) {
    ids.push_back("a" + std::to_string(i));
    ids.push_back("b" + std::to_string(i));
  }
  auto instance = start(log_of(ids), {.is_batch = true});

  ASSERT_TRUE(eventually(10s, [&] { return effects() == 20; }));

  EXPECT_THAT(effects_of("a"), ElementsAre("a0", "a1", "a2", "a3", "a4", "a5", "a6", "a7", "a8", "a9"));
  EXPECT_THAT(effects_of("b"), ElementsAre("b0", "b1", "b2", "b3", "b4", "b5", "b6", "b7", "b8", "b9"));
  expect_all_over();
}

TEST_F(OrderedTest, LanesNeverWaitForTheHandlerOfAHead) {
  script_.fail("a0", 1);
  auto instance = start(log_of({"a0"}), {.retries = {.delays = {300ms}, .order = retry::Order::by_key}, .workers = 2});
  ASSERT_TRUE(eventually(10s, [&] { return parked() == 1; }));
  script_.close_gate("a0");
  ASSERT_TRUE(eventually(10s, [&] { return script_.is_at_gate("a0"); })) << "the driver has it in hand";

  for (const Record& record : log_of({"a0", "a1", "b0", "b1"}, 1)) instance->source().add(record);

  EXPECT_TRUE(instance->source().wait_for_commit("orders", 5)) << "a lane waits for the head's handler";
  EXPECT_EQ(instance->counts().duplicates, 1u);
  EXPECT_EQ(effects_of("b").size(), 2u);
  script_.open_gate("a0");
  ASSERT_TRUE(eventually(10s, [&] { return effects() == 4; }));
  EXPECT_THAT(effects_of("a"), ElementsAre("a0", "a1"));
}

TEST_F(OrderedTest, AHeadWhoseRowIsLockedForAMomentIsNotLeftForItsLease) {
  script_.fail("a0", 1);
  auto instance = start(log_of({"a0", "a1"}), {.retries = {.delays = {300ms}, .order = retry::Order::by_key}});
  ASSERT_TRUE(eventually(10s, [&] { return parked() == 2; }));
  script_.close_gate("a0");
  ASSERT_TRUE(eventually(10s, [&] { return script_.is_at_gate("a0"); }));
  auto connection = pool_.acquire();
  mysql::UnitOfWork lane(*connection);
  (void)ledger::lock_standing(lane.tx(), "shipping", "a1");
  script_.open_gate("a0");
  ASSERT_TRUE(eventually(10s, [&] { return effects() == 1; }));
  // The driver has taken the next head with the last commit, and meets the lock now.
  ASSERT_FALSE(eventually(100ms, [&] { return effects() == 2; }));

  lane.rollback();

  EXPECT_TRUE(eventually(5s, [&] { return effects() == 2; }));
}

TEST_F(OrderedTest, AMessageWithoutAKeyIsRetriedOutOfOrder) {
  script_.always_fail("n0");
  auto log = log_of({"n0", "n1"});
  for (Record& record : log) record.key = nullptr;
  auto instance = start(log);

  ASSERT_TRUE(eventually(10s, [&] { return in_state("retrying") == 1 && effects() == 1; }));
  EXPECT_EQ(parked(), 0);
  EXPECT_EQ(count("SELECT COUNT(*) FROM outbox_message WHERE topic = 'retry.shipping.orders'"), 1);
}

TEST_F(OrderedTest, ARecordThatNeverReachesItsHandlerBecomesALetterAndStopsNothing) {
  auto log = log_of({"a0", "a1"});
  log[0].headers.set("om-message-id", std::string(300, 'x'));
  auto instance = start(log);

  ASSERT_TRUE(eventually(10s, [&] { return in_state("dead") == 1 && effects() == 1; }));
  EXPECT_EQ(parked(), 0);
}

TEST_F(OrderedTest, OfAKeyTooLongForItsColumnKeepsTheOrder) {
  const std::string key(5'000, 'k');
  auto log = log_of({"a0", "a1"});
  for (Record& record : log) record.key = key;
  script_.fail("a0", 1);
  auto instance = start(log);

  ASSERT_TRUE(eventually(10s, [&] { return effects() == 2; }));
  EXPECT_THAT(effects_of(key), ElementsAre("a0", "a1"));
}

TEST_F(OrderedTest, FailuresThatTheServersAreToBlameForCostNoAttempt) {
  script_.fail("a0", 1);
  auto instance = start(log_of({"a0", "a1"}), {.retries = {.delays = {100ms, 10s}, .order = retry::Order::by_key}});
  ASSERT_TRUE(eventually(10s, [&] { return in_state("parked") == 2; }));
  script_.fail("a0", 3, [](const Message&) { throw UnavailableError("the warehouse is down"); });

  ASSERT_TRUE(eventually(10s, [&] { return effects() == 2; }));

  EXPECT_EQ(count("SELECT attempt FROM effect WHERE message_id = 'a0'"), 2);
  EXPECT_GE(script_.runs("a0"), 5);
}

TEST_F(OrderedTest, AHeadThatEndsItsProcessAgainAndAgainIsNotRunAFourthTime) {
  script_.fail("a0", 1);
  auto instance =
      start(log_of({"a0", "a1"}),
            {.retries = {.delays = {1h}, .order = retry::Order::by_key, .on_dead = retry::OnDead::continue_key}});
  ASSERT_TRUE(eventually(10s, [&] { return in_state("parked") == 2; }));
  const int runs = script_.runs("a0");
  pool_.transact(
      [](mysql::Transaction& tx) { tx.execute("UPDATE parked_key SET tries = 3, due_at = UTC_TIMESTAMP(6)"); });

  ASSERT_TRUE(eventually(10s, [&] { return effects() == 1; }));

  EXPECT_EQ(count("SELECT COUNT(*) FROM dead_letter WHERE message_id = 'a0' AND error_class = 'crash_loop'"), 1);
  EXPECT_EQ(script_.runs("a0"), runs);
  expect_all_over();
}

TEST_F(OrderedTest, ARuleMayTryAHeadInPlace) {
  script_.fail("a0", 4, [](const Message&) { throw std::out_of_range("here"); });
  auto instance =
      start(log_of({"a0", "a1"}),
            {.retries = {.delays = {30ms},
                         .rules = {{.errors = {"std::out_of_range"}, .action = retry::Action::retry_here, .tries = 2}},
                         .order = retry::Order::by_key}});

  ASSERT_TRUE(eventually(10s, [&] { return effects() == 2; }));

  EXPECT_EQ(count("SELECT attempt FROM effect WHERE message_id = 'a0'"), 2) << "tries in place are no attempts";
  EXPECT_THAT(effects_of("a"), ElementsAre("a0", "a1"));
}

TEST_F(OrderedTest, AHandlerWithAStoreOfItsOwnIsRefused) {
  ScriptedSource source;
  class NoSequences final : public consume::Handler {
    const std::string& consumer() const override { return name_; }
    void prepare() override {}
    void identify(Message&) const override {}
    consume::Handled handle(std::span<const Message* const>) override { return {}; }
    bool is_reachable() noexcept override { return true; }
    std::string name_ = "shipping";
  } handler;
  dead_letter::Router router(pool_, {.retries = {.order = retry::Order::by_key}});
  consume::Runner runner(source, handler, router);

  EXPECT_THROW(runner.run(std::stop_source().get_token()), MisuseError);
}

}  // namespace
}  // namespace oncemark
