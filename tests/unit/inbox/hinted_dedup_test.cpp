#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <oncemark/core/error.hpp>
#include <oncemark/inbox/batch_dedup.hpp>
#include <oncemark/inbox/dedup.hpp>
#include <oncemark/testing/builders.hpp>
#include <oncemark/testing/memory_hint.hpp>
#include <oncemark/testing/memory_store.hpp>

namespace oncemark::inbox {
namespace {

using consume::Outcome;
using ::testing::ElementsAre;
using testing::MemoryHint;
using testing::MemoryStore;
using testing::message_with_id;
using testing::pointers_to;

/// A Dedup over doubles that notes what its effect was run for.
class HintedDedup : public ::testing::Test {
 protected:
  DedupOptions options(Trust trust) {
    return {.consumer = "shipping",
            .effects = Effects::transaction,
            .hint = &hint_,
            .hint_use = {.trust = trust, .ask_above = 0}};
  }
  Dedup::Effect effect() {
    return [this](const Message& message, mysql::Transaction&) {
      if (message.payload == "poison") throw PermanentError("no");
      if (message.payload == "outage") throw UnavailableError("down");
      applied_.push_back(message.id);
    };
  }
  static std::vector<Outcome> outcomes(const consume::Handled& handled) {
    std::vector<Outcome> outcomes;
    for (const consume::Settled& settled : handled.messages) {
      EXPECT_FALSE(settled.failure);
      outcomes.push_back(settled.outcome);
    }
    return outcomes;
  }

  MemoryStore store_;
  MemoryHint hint_;
  std::vector<std::string> applied_;
};

TEST_F(HintedDedup, SkipsWhatWasRememberedAfterItsCommit) {
  Dedup dedup{store_, options(Trust::skip), effect()};
  EXPECT_EQ(dedup.handle(message_with_id("a")), Outcome::done);
  const std::vector<Message> group{message_with_id("b"), message_with_id("a"), message_with_id("c")};

  EXPECT_THAT(outcomes(dedup.handle(pointers_to(group))),
              ElementsAre(Outcome::done, Outcome::duplicate, Outcome::done));
  EXPECT_THAT(applied_, ElementsAre("a", "b", "c"));
}

TEST_F(HintedDedup, SkippingAsksTheStoreNothing) {
  Dedup dedup{store_, options(Trust::skip), effect()};
  (void)dedup.handle(message_with_id("a"));
  const auto statements = store_.session().sent().size();

  EXPECT_EQ(dedup.handle(message_with_id("a")), Outcome::duplicate);
  EXPECT_EQ(store_.session().sent().size(), statements);
}

TEST_F(HintedDedup, KnowsWithoutAskingAnybodyWhatAHintInMemoryCallsDone) {
  Dedup dedup{store_, options(Trust::skip), effect()};
  (void)dedup.handle(message_with_id("a"));
  const auto statements = store_.session().sent().size();
  const std::vector<Message> read{message_with_id("a"), message_with_id("b"), message_with_id("a", "other contents")};

  EXPECT_THAT(dedup.known_done(pointers_to(read)), ElementsAre(true, false, false));
  EXPECT_EQ(store_.session().sent().size(), statements);
}

TEST_F(HintedDedup, KnowsNothingOfRetriesAndUnderVerify) {
  hint_.lie_about("a");
  Dedup trusting{store_, options(Trust::skip), effect()};
  Dedup verifying{store_, options(Trust::verify), effect()};
  const std::vector<Message> retry{testing::retried_message("a", 1, 2)};
  const std::vector<Message> first{message_with_id("a")};

  EXPECT_THAT(trusting.known_done(pointers_to(retry)), ::testing::IsEmpty());
  EXPECT_THAT(verifying.known_done(pointers_to(first)), ::testing::IsEmpty());
}

/// One that has to be asked over a network.
class DistantHint final : public SeenHint {
 public:
  [[nodiscard]] std::uint64_t epoch() const noexcept override { return 1; }
  [[nodiscard]] std::vector<bool> seen(const std::string&, std::span<const SeenMark> marks) noexcept override {
    return std::vector<bool>(marks.size(), true);
  }
  void remember(const std::string&, std::uint64_t, std::span<const SeenMark>) noexcept override {}
};

TEST_F(HintedDedup, LetsNoMessageWaitForADistantHintWhileItIsRead) {
  DistantHint hint;
  DedupOptions distant = options(Trust::skip);
  distant.hint = &hint;
  Dedup dedup{store_, distant, effect()};
  const std::vector<Message> read{message_with_id("a")};

  EXPECT_THAT(dedup.known_done(pointers_to(read)), ::testing::IsEmpty());
}

TEST_F(HintedDedup, ALieLosesNothingUnderVerify) {
  for (const auto* id : {"a", "b"}) hint_.lie_about(id);
  Dedup dedup{store_, options(Trust::verify), effect()};
  const std::vector<Message> group{message_with_id("a"), message_with_id("b"), message_with_id("c")};

  EXPECT_THAT(outcomes(dedup.handle(pointers_to(group))), ElementsAre(Outcome::done, Outcome::done, Outcome::done));
  EXPECT_THAT(applied_, ElementsAre("a", "b", "c"));
}

TEST_F(HintedDedup, RemembersNothingWhenTheEffectThrows) {
  Dedup dedup{store_, options(Trust::skip), effect()};

  EXPECT_THROW((void)dedup.handle(message_with_id("a", "poison")), PermanentError);
  EXPECT_FALSE(hint_.knows("shipping", "a"));
}

TEST_F(HintedDedup, RemembersOfAGroupOnlyWhatWasCommitted) {
  Dedup dedup{store_, options(Trust::skip), effect()};
  const std::vector<Message> group{message_with_id("a"), message_with_id("b", "poison"), message_with_id("c", "outage"),
                                   message_with_id("d")};

  ASSERT_EQ(dedup.handle(pointers_to(group)).messages.size(), 3u);
  EXPECT_TRUE(hint_.knows("shipping", "a"));
  for (const auto* id : {"b", "c", "d"}) EXPECT_FALSE(hint_.knows("shipping", id)) << id;
}

/// Runs the effects, and then the connection is lost during the COMMIT.
class DoubtfulStore final : public Store {
 public:
  void prepare() override {}
  std::vector<ledger::Claim> settle(const std::string& consumer, std::span<const Message* const> group,
                                    const Effects& effects) override {
    MemoryStore store;
    (void)store.settle(consumer, group, effects);
    throw InDoubtError("the connection was lost during COMMIT");
  }
  [[nodiscard]] bool is_reachable() noexcept override { return true; }
};

TEST_F(HintedDedup, RemembersNothingOfACommitInDoubt) {
  DoubtfulStore store;
  Dedup dedup{store, options(Trust::skip), effect()};
  const std::vector<Message> group{message_with_id("a"), message_with_id("b")};

  EXPECT_THROW((void)dedup.handle(message_with_id("a")), InDoubtError);
  EXPECT_TRUE(dedup.handle(pointers_to(group)).failure);
  EXPECT_FALSE(hint_.knows("shipping", "a"));
  EXPECT_FALSE(hint_.knows("shipping", "b"));
}

TEST_F(HintedDedup, ARetryRunsWhateverTheHintSays) {
  hint_.lie_about("a");
  Dedup dedup{store_, options(Trust::skip), effect()};

  EXPECT_EQ(dedup.handle(testing::retried_message("a", 1, 2)), Outcome::done);
  EXPECT_THAT(applied_, ElementsAre("a"));
}

TEST_F(HintedDedup, SettlesNothingBehindAMessageThatIsTriedAgainInPlace) {
  Dedup dedup{store_, options(Trust::skip), effect()};
  for (const auto* id : {"x", "y"}) (void)dedup.handle(message_with_id(id));
  const std::vector<Message> group{message_with_id("x"), message_with_id("a"), message_with_id("b", "outage"),
                                   message_with_id("y"), message_with_id("c")};

  const auto settled = dedup.handle(pointers_to(group)).messages;

  ASSERT_EQ(settled.size(), 3u);
  EXPECT_EQ(settled[0].outcome, Outcome::duplicate);
  EXPECT_EQ(settled[1].outcome, Outcome::done);
  EXPECT_TRUE(settled[2].failure);
}

TEST_F(HintedDedup, ABatchEffectSeesOnlyWhatTheHintDoesNotKnow) {
  BatchDedup dedup{store_, options(Trust::skip), [this](Batch& batch, mysql::Transaction&) {
                     for (const Message& message : batch) applied_.push_back(message.id);
                   }};
  const std::vector<Message> first{message_with_id("a"), message_with_id("b")};
  const std::vector<Message> second{message_with_id("b"), message_with_id("c"), message_with_id("a")};
  (void)dedup.handle(pointers_to(first));

  EXPECT_THAT(outcomes(dedup.handle(pointers_to(second))),
              ElementsAre(Outcome::duplicate, Outcome::done, Outcome::duplicate));
  EXPECT_THAT(applied_, ElementsAre("a", "b", "c"));
}

TEST_F(HintedDedup, ANewEpochMakesEverythingUnknown) {
  Dedup dedup{store_, options(Trust::skip), effect()};
  (void)dedup.handle(message_with_id("a"));
  hint_.set_epoch(2);
  MemoryStore restored;  // from a backup that is older than the mark
  Dedup after{restored, options(Trust::skip), effect()};

  EXPECT_EQ(after.handle(message_with_id("a")), Outcome::done);
}

}  // namespace
}  // namespace oncemark::inbox
