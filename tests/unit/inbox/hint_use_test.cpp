#include "inbox/hint_use.hpp"

#include <gtest/gtest.h>

#include <oncemark/core/error.hpp>
#include <oncemark/message/codec.hpp>
#include <oncemark/testing/builders.hpp>
#include <oncemark/testing/memory_hint.hpp>

namespace oncemark::inbox {
namespace {

using ledger::Claim;
using testing::MemoryHint;
using testing::message_with_id;
using testing::pointers_to;

constexpr HintOptions kAlways{.trust = Trust::skip, .ask_above = 0};

Claim fresh() { return {.is_fresh = true}; }
Claim duplicate(const Message& message, ledger::State state = ledger::State::done) {
  return {.is_fresh = false, .standing = {.state = state, .payload_hash = payload_hash(message.payload)}};
}

TEST(HintUse, RemembersWhatWasDoneAndRecognisesItsCopies) {
  MemoryHint hint;
  HintUse use(&hint, kAlways, "shipping", Metrics::none());
  const std::vector<Message> group{message_with_id("a"), message_with_id("b")};

  const auto before = use.look(pointers_to(group));
  EXPECT_FALSE(before.hit(0));
  use.settled(before, pointers_to(group), std::vector{fresh(), duplicate(group[1])});

  const auto after = use.look(pointers_to(group));
  EXPECT_TRUE(after.hit(0));
  EXPECT_TRUE(after.hit(1));
}

TEST(HintUse, RemembersNothingThatWasUndone) {
  MemoryHint hint;
  HintUse use(&hint, kAlways, "shipping", Metrics::none());
  const std::vector<Message> group{message_with_id("a"), message_with_id("b"), message_with_id("a")};

  // "a" failed and was given back; its copy in the same group was told from it in memory only.
  const std::vector<std::size_t> undone{0};
  use.settled(use.look(pointers_to(group)), pointers_to(group), std::vector{fresh(), fresh(), duplicate(group[2])},
              undone);

  EXPECT_FALSE(hint.knows("shipping", "a"));
  EXPECT_TRUE(hint.knows("shipping", "b"));
}

TEST(HintUse, RemembersDuplicatesOnlyIfTheyAreDone) {
  MemoryHint hint;
  HintUse use(&hint, kAlways, "shipping", Metrics::none());
  for (const auto state :
       {ledger::State::retrying, ledger::State::dead, ledger::State::parked, ledger::State::discarded}) {
    const std::vector<Message> group{message_with_id("a")};
    use.settled(use.look(pointers_to(group)), pointers_to(group), std::vector{duplicate(group[0], state)});
  }

  EXPECT_FALSE(hint.knows("shipping", "a"));
}

TEST(HintUse, RemembersNothingThatIsOlderThanTheHorizon) {
  MemoryHint hint;
  HintUse use(&hint, kAlways, "shipping", Metrics::none());
  const std::vector<Message> group{message_with_id("a", nullptr)};

  // It becomes a letter. What its claim calls done is no row.
  use.settled(use.look(pointers_to(group)), pointers_to(group), std::vector<Claim>{{.is_older_than_horizon = true}});

  EXPECT_FALSE(hint.knows("shipping", "a"));
}

TEST(HintUse, DoesNotAskAboutSuspects) {
  MemoryHint hint;
  hint.lie_about("a");
  HintUse use(&hint, kAlways, "shipping", Metrics::none());
  std::vector<Message> group{message_with_id("a")};
  group[0].suspect_tries = 1;

  EXPECT_FALSE(use.look(pointers_to(group)).hit(0));  // a claim clears the note
}

TEST(HintUse, NeverAsksAboutRetriesAndReplays) {
  MemoryHint hint;
  hint.lie_about("a");
  HintUse use(&hint, kAlways, "shipping", Metrics::none());
  Message replayed = message_with_id("a");
  replayed.headers.append(std::string(names::kReplayId), "7");
  const std::vector<Message> group{testing::retried_message("a", 1, 2), replayed};

  const auto looked = use.look(pointers_to(group));

  EXPECT_EQ(hint.asked(), 0);
  EXPECT_FALSE(looked.hit(0));
  EXPECT_FALSE(looked.hit(1));
}

TEST(HintUse, TakesAnotherPayloadForAnotherMessage) {
  MemoryHint hint;
  HintUse use(&hint, kAlways, "shipping", Metrics::none());
  const std::vector<Message> first{message_with_id("a", "one crate")};
  use.settled(use.look(pointers_to(first)), pointers_to(first), std::vector{fresh()});

  const std::vector<Message> conflicting{message_with_id("a", "two crates")};
  EXPECT_FALSE(use.look(pointers_to(conflicting)).hit(0));  // MySQL is asked, and sees the key conflict
}

TEST(HintUse, AsksOnlyWhileDuplicatesAreFrequent) {
  MemoryHint hint;
  HintUse use(&hint, {.ask_above = 0.05}, "shipping", Metrics::none());
  const std::vector<Message> group(100, message_with_id("a"));

  use.settled(use.look(pointers_to(group)), pointers_to(group), std::vector<Claim>(100, fresh()));
  EXPECT_EQ(hint.asked(), 0);
  use.settled(use.look(pointers_to(group)), pointers_to(group), std::vector<Claim>(100, duplicate(group[0])));
  EXPECT_EQ(hint.asked(), 0);  // that was the group that showed them
  EXPECT_TRUE(use.look(pointers_to(group)).hit(0));
  EXPECT_EQ(hint.asked(), 1);
}

TEST(HintUse, WritesUnderTheEpochThatWasReadBeforeTheClaim) {
  MemoryHint hint;
  HintUse use(&hint, kAlways, "shipping", Metrics::none());
  const std::vector<Message> group{message_with_id("a")};

  const auto looked = use.look(pointers_to(group));
  hint.set_epoch(2);  // the database was restored to a moment before this group's commit
  use.settled(looked, pointers_to(group), std::vector{fresh()});

  EXPECT_FALSE(hint.knows("shipping", "a"));
}

TEST(HintUse, NeitherAsksNorRemembersWhileTheEpochIsUnknown) {
  MemoryHint hint;
  hint.set_epoch(0);
  HintUse use(&hint, kAlways, "shipping", Metrics::none());
  const std::vector<Message> group{message_with_id("a")};

  use.settled(use.look(pointers_to(group)), pointers_to(group), std::vector{fresh()});
  EXPECT_EQ(hint.asked(), 0);
}

TEST(HintUse, DoesNothingWithoutAHint) {
  HintUse use(nullptr, kAlways, "shipping", Metrics::none());
  const std::vector<Message> group{message_with_id("a")};

  use.settled(use.look(pointers_to(group)), pointers_to(group), std::vector{fresh()});
  EXPECT_FALSE(use.look(pointers_to(group)).hit(0));
}

TEST(HintOptions, NameTheFieldThatIsOutOfRange) {
  EXPECT_NO_THROW(HintOptions{}.validate());
  EXPECT_THROW((HintOptions{.ask_above = 1.5}).validate(), ConfigError);
}

}  // namespace
}  // namespace oncemark::inbox
