#include <oncemark/inbox/batch_dedup.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <oncemark/core/error.hpp>
#include <oncemark/testing/builders.hpp>
#include <oncemark/testing/memory_store.hpp>

namespace oncemark::inbox {
namespace {

using consume::Outcome;
using ::testing::ElementsAre;
using testing::MemoryStore;
using testing::message_with_id;
using testing::pointers_to;

DedupOptions shipping() { return {.consumer = "shipping", .effects = Effects::transaction}; }

/// The ids of each call.
using Calls = std::vector<std::vector<std::string>>;

void note(Calls& calls, const Batch& batch) {
  calls.emplace_back();
  for (const Message& message : batch) calls.back().push_back(message.id);
}

TEST(BatchDedup, CallsTheEffectOnceWithAllThatAreFresh) {
  MemoryStore store;
  Calls calls;
  BatchDedup dedup{store, shipping(), [&](Batch& batch, mysql::Transaction&) { note(calls, batch); }};
  const std::vector<Message> group{message_with_id("a"), message_with_id("b"), message_with_id("a")};

  const auto first = dedup.handle(pointers_to(group)).messages;
  const auto again = dedup.handle(pointers_to(group)).messages;

  EXPECT_THAT(calls, ElementsAre(ElementsAre("a", "b")));
  EXPECT_EQ(first[1].outcome, Outcome::done);
  EXPECT_EQ(first[2].outcome, Outcome::duplicate);
  EXPECT_EQ(again[0].outcome, Outcome::duplicate);
}

TEST(BatchDedup, SendsOnlyTheReportedOnesToTheirNextAttempt) {
  MemoryStore store;
  BatchDedup dedup{store, shipping(), [](Batch& batch, mysql::Transaction&) {
                     for (std::size_t i = 0; i < batch.size(); ++i) {
                       if (batch[i].id == "poison") batch.fail(i, PermanentError("no address"));
                     }
                   }};
  const std::vector<Message> group{message_with_id("a"), message_with_id("poison"), message_with_id("b")};

  const auto settled = dedup.handle(pointers_to(group)).messages;

  ASSERT_EQ(settled.size(), 3u);
  EXPECT_FALSE(settled[0].failure);
  EXPECT_THROW(std::rethrow_exception(settled[1].failure), PermanentError);
  EXPECT_FALSE(settled[2].failure);
  EXPECT_TRUE(store.is_marked("shipping", "a"));
  EXPECT_FALSE(store.is_marked("shipping", "poison"));
}

TEST(BatchDedup, FindsTheCulpritOneByOneWhenTheEffectThrows) {
  MemoryStore store;
  Calls calls;
  BatchDedup dedup{store, shipping(), [&](Batch& batch, mysql::Transaction&) {
                     note(calls, batch);
                     for (const Message& message : batch) {
                       if (message.id == "poison") throw std::runtime_error("no");
                     }
                   }};
  const std::vector<Message> group{message_with_id("a"), message_with_id("poison"), message_with_id("b")};

  const auto settled = dedup.handle(pointers_to(group)).messages;

  EXPECT_THAT(calls,
              ElementsAre(ElementsAre("a", "poison", "b"), ElementsAre("a"), ElementsAre("poison"), ElementsAre("b")));
  ASSERT_EQ(settled.size(), 3u);
  EXPECT_TRUE(settled[1].failure);
  EXPECT_TRUE(store.is_marked("shipping", "b"));
}

TEST(BatchDedup, LetsNothingOvertakeAMessageThatWillBeTriedInPlace) {
  MemoryStore store;
  BatchDedup dedup{store, shipping(), [](Batch& batch, mysql::Transaction&) {
                     for (std::size_t i = 0; i < batch.size(); ++i) {
                       if (batch[i].id == "outage") batch.fail(i, UnavailableError("down"));
                     }
                   }};
  const std::vector<Message> group{message_with_id("a"), message_with_id("outage"), message_with_id("later")};

  const auto settled = dedup.handle(pointers_to(group)).messages;

  ASSERT_EQ(settled.size(), 2u);
  EXPECT_FALSE(settled[0].failure);
  EXPECT_TRUE(settled[1].failure);
  EXPECT_FALSE(store.is_marked("shipping", "later"));
}

TEST(BatchDedup, RefusesEffectsElsewhere) {
  MemoryStore store;
  const auto effect = [](Batch&, mysql::Transaction&) {};

  EXPECT_THROW((BatchDedup{store, {.consumer = "shipping", .effects = Effects::outside}, effect}), ConfigError);
}

}  // namespace
}  // namespace oncemark::inbox
