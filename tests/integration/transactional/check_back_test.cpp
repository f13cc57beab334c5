#include <atomic>

#include <oncemark/core/error.hpp>
#include <oncemark/message/names.hpp>
#include <oncemark/observe/log.hpp>

#include "transactional_fixture.hpp"

namespace oncemark::transactional {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class CheckBackTest : public TransactionalTest {
 protected:
  std::vector<ParkedHalf> parked() {
    return pool_.transact([](mysql::Transaction& tx) { return find_parked(tx, "shop", std::nullopt, 100); });
  }
  void prepare(const std::string& id) { (void)make_sender()->prepare(draft(id)); }
};

TEST_F(CheckBackTest, SendsWhatWasCommittedAndNotSent) {
  commit_and_die("m-1");
  EXPECT_EQ(state_of("m-1"), "committed");

  start_checks();

  EXPECT_TRUE(comes_true([&] { return state_of("m-1") == "sent"; }));
  EXPECT_THAT(sent(check_side_), ElementsAre("p-m-1"));
  EXPECT_TRUE(source_.wait_for_commit("half.shop", 1));
}

TEST_F(CheckBackTest, DropsWhatIsSentAlready) {
  {
    const auto sender = make_sender();
    sender->send(draft("m-1"), [](mysql::Transaction&) {});
    ASSERT_TRUE(eventually(5s, [&] { return state_of("m-1") == "sent"; }));
  }
  start_checks();

  EXPECT_TRUE(comes_true([&] { return checks_->counts().settled == 1; }));
  EXPECT_THAT(sent(check_side_), IsEmpty());
}

TEST_F(CheckBackTest, GivesUpATransactionThatHasNotBegunSoThatItNeverCan) {
  const auto sender = make_sender();
  EXPECT_THROW(sender->send(draft("m-1"), [](mysql::Transaction&) { throw PermanentError("no"); }), PermanentError);
  start_checks();

  EXPECT_TRUE(comes_true([&] { return checks_->counts().rolled_back == 1; }));

  EXPECT_EQ(state_of("m-1"), "rolled_back");
  EXPECT_THAT(sent(check_side_), IsEmpty());
  EXPECT_THROW(sender->send(draft("m-1"), [](mysql::Transaction&) {}), Error);
  EXPECT_EQ(state_of("m-1"), "rolled_back");
}

TEST_F(CheckBackTest, WaitsForATransactionThatRunsAndCountsNothing) {
  start_checks();
  {
    const auto sender = make_sender();
    sender->send(draft("m-1"), [&](mysql::Transaction&) {
      EXPECT_TRUE(comes_true([&] { return checks_->counts().running >= 5; })) << "more often than max_checks";
      EXPECT_EQ(checks_->counts().unknown, 0u);
      EXPECT_EQ(checks_->counts().rolled_back, 0u);
    });
    EXPECT_TRUE(comes_true([&] { return checks_->counts().settled == 1; }));
  }
  EXPECT_EQ(state_of("m-1"), "sent");
  EXPECT_THAT(parked(), IsEmpty());
}

TEST_F(CheckBackTest, LeavesToAPersonWhatNobodyCanTell) {
  prepare("m-1");
  start_checks();

  ASSERT_TRUE(comes_true([&] { return checks_->counts().parked == 1; }));

  EXPECT_EQ(checks_->counts().unknown, 3u);
  ASSERT_EQ(parked().size(), 1u);
  EXPECT_EQ(parked()[0].message.payload, Bytes("p-m-1"));
  EXPECT_EQ(parked()[0].message.key, Bytes("k"));
  EXPECT_EQ(parked()[0].message.checks, 3u);
  EXPECT_THAT(parked()[0].reason, HasSubstr("no Check"));
  EXPECT_EQ(state_of("m-1"), "none");
}

TEST_F(CheckBackTest, SendsAParkedMessageWhenAPersonSaysSo) {
  prepare("m-1");
  start_checks();
  ASSERT_TRUE(comes_true([&] { return parked().size() == 1; }));

  EXPECT_TRUE(pool_.transact([](mysql::Transaction& tx) { return commit_parked(tx, "m-1", {"ann", "is there"}); }));

  EXPECT_TRUE(comes_true([&] { return parked().empty(); }));
  EXPECT_THAT(sent(check_side_), ElementsAre("p-m-1"));
  EXPECT_EQ(state_of("m-1"), "sent");
  EXPECT_EQ(
      count(
          "replay_audit WHERE consumer = 'shop' AND identity = 'm-1' AND action = 'half-commit' AND operator = 'ann'"),
      1u);
}

TEST_F(CheckBackTest, DropsAParkedMessageForGoodWhenAPersonSaysSo) {
  prepare("m-1");
  start_checks();
  ASSERT_TRUE(comes_true([&] { return parked().size() == 1; }));

  EXPECT_TRUE(pool_.transact([](mysql::Transaction& tx) { return drop_parked(tx, "m-1", {"ann", "cancelled"}); }));
  EXPECT_FALSE(pool_.transact([](mysql::Transaction& tx) { return drop_parked(tx, "m-1", {"ann", "cancelled"}); }));

  EXPECT_THAT(parked(), IsEmpty());
  EXPECT_EQ(state_of("m-1"), "discarded");
  EXPECT_THROW(make_sender()->send(draft("m-1"), [](mysql::Transaction&) {}), PermanentError);
}

TEST_F(CheckBackTest, AsksTheCheckForOtherStores) {
  for (const char* id : {"yes", "no", "later", "never"}) prepare(id);
  std::atomic<int> asked_later{0};
  start_checks([&](const HalfMessage& half) {
    if (half.id == "yes") return Outcome::committed;
    if (half.id == "no") return Outcome::rolled_back;
    if (half.id == "later") return ++asked_later < 6 ? Outcome::running : Outcome::committed;
    throw std::runtime_error("cannot read the store");
  });

  EXPECT_TRUE(comes_true([&] { return checks_->counts().settled == 3 && checks_->counts().parked == 1; }));

  EXPECT_THAT(sent(check_side_), ::testing::UnorderedElementsAre("p-yes", "p-later"));
  EXPECT_EQ(state_of("yes"), "sent");
  EXPECT_EQ(state_of("no"), "rolled_back");
  EXPECT_EQ(state_of("later"), "sent");
  EXPECT_EQ(parked().at(0).message.id, "never");
  EXPECT_THAT(parked().at(0).reason, HasSubstr("cannot read the store"));
}

TEST_F(CheckBackTest, CountsNothingWhileTheOtherStoreIsAway) {
  prepare("m-1");
  std::atomic<int> asked{0};
  start_checks([&](const HalfMessage&) {
    if (++asked < 8) throw UnavailableError("the store is away");
    return Outcome::committed;
  });

  EXPECT_TRUE(comes_true([&] { return checks_->counts().sent == 1; }));

  EXPECT_EQ(checks_->counts().unknown, 0u);
}

TEST_F(CheckBackTest, AsksNobodyAboutWhatWasReported) {
  {
    const auto sender = make_sender();
    sender->commit(sender->prepare(draft("m-1")));
    sender->roll_back(sender->prepare(draft("m-2")));
    ASSERT_TRUE(eventually(5s, [&] { return state_of("m-1") == "sent"; }));
  }
  start_checks([](const HalfMessage&) {
    ADD_FAILURE() << "asked";
    return Outcome::unknown;
  });

  EXPECT_TRUE(comes_true([&] { return checks_->counts().settled == 2; }));
  EXPECT_THAT(sent(producer_side_), ElementsAre("p-m-1"));
  EXPECT_EQ(state_of("m-2"), "rolled_back");
}

TEST_F(CheckBackTest, LeavesToAPersonWhatTheBrokerRefusesAndSendsTheOthers) {
  commit_and_die("bad");
  commit_and_die("good");
  check_side_.set_max_record(10'000);
  outbox::Draft large = draft("large");
  large.payload = std::string(20'000, 'x');
  (void)make_sender()->send(large, [](mysql::Transaction&) {});
  start_checks();

  EXPECT_TRUE(comes_true([&] { return checks_->counts().sent == 2 && parked().size() == 1; }));

  EXPECT_EQ(parked().at(0).message.id, "large") << "although the half topic refuses it as well";
  EXPECT_THAT(parked().at(0).reason, HasSubstr("too large"));
  EXPECT_EQ(state_of("large"), "committed");
}

TEST_F(CheckBackTest, ParksACommittedMessageWhoseTopicIsMissing) {
  commit_and_die("m-1");
  check_side_.answer_topic("orders", Answer::refuse_topic);
  start_checks();
  ASSERT_TRUE(comes_true([&] { return parked().size() == 1; }));
  EXPECT_EQ(state_of("m-1"), "committed");

  check_side_.answer_topic("orders", Answer::ack);
  EXPECT_TRUE(pool_.transact([](mysql::Transaction& tx) { return commit_parked(tx, "m-1", {"ann", "topic made"}); }));

  EXPECT_TRUE(comes_true([&] { return state_of("m-1") == "sent"; }));
}

TEST_F(CheckBackTest, KeepsForAPersonWhatItCannotRead) {
  source_.add(
      {.position = {"half.shop", 0, 0}, .timestamp = Time(1s), .key = "x", .payload = "foreign", .headers = {}});
  start_checks();

  ASSERT_TRUE(comes_true([&] { return parked().size() == 1; }));

  EXPECT_EQ(parked()[0].message.payload, Bytes("foreign"));
  EXPECT_THAT(parked()[0].reason, HasSubstr("om-message-id"));
  const std::string id = parked()[0].message.id;
  EXPECT_FALSE(pool_.transact([&](mysql::Transaction& tx) { return commit_parked(tx, id, {}); }))
      << "nowhere to send it";
  EXPECT_TRUE(pool_.transact([&](mysql::Transaction& tx) { return drop_parked(tx, id, {}); }));
}

TEST_F(CheckBackTest, ReadsAgainWhatWasNotSettledWhenItsPartitionComesBack) {
  check_side_.answer_topic("orders", Answer::silence);
  commit_and_die("m-1");
  start_checks();
  EXPECT_TRUE(comes_true([&] { return check_side_.discards() > 0; }));

  source_.revoke_all();
  source_.assign_all();
  check_side_.answer_topic("orders", Answer::ack);

  EXPECT_TRUE(comes_true([&] { return state_of("m-1") == "sent"; }));
  EXPECT_TRUE(source_.wait_for_commit("half.shop", 1));
}

TEST_F(CheckBackTest, PurgesSettledRowsThatAreOldAndNoOthers) {
  pool_.transact([](mysql::Transaction& tx) {
    for (const char* state : {"committed", "sent", "rolled_back", "discarded"}) {
      tx.execute(
          "INSERT INTO local_transaction VALUES (CONCAT('old-', ?), 'shop', ?, UTC_TIMESTAMP(6) - INTERVAL 15 DAY)",
          state, state);
      tx.execute(
          "INSERT INTO local_transaction VALUES (CONCAT('new-', ?), 'shop', ?, UTC_TIMESTAMP(6) - INTERVAL 13 DAY)",
          state, state);
    }
    tx.execute("INSERT INTO local_transaction VALUES ('other', 'other', 'sent', UTC_TIMESTAMP(6) - INTERVAL 15 DAY)");
  });
  start_checks();

  EXPECT_TRUE(comes_true([&] { return count("local_transaction") == 6; }));
  EXPECT_EQ(count("local_transaction WHERE message_id IN ('old-committed', 'other')"), 2u);
}

}  // namespace
}  // namespace oncemark::transactional
