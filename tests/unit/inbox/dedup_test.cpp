#include <oncemark/inbox/dedup.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <oncemark/core/error.hpp>
#include <oncemark/testing/builders.hpp>
#include <oncemark/testing/memory_store.hpp>

namespace oncemark::inbox {
namespace {

using consume::Outcome;
using testing::MemoryStore;
using testing::message_with_id;
using testing::pointers_to;

DedupOptions shipping() { return {.consumer = "shipping", .effects = Effects::transaction}; }

TEST(Dedup, KeepsNoMarkWhenTheEffectThrows) {
  MemoryStore store;
  int runs = 0;
  Dedup dedup{store, shipping(), [&](const Message&, mysql::Transaction&) {
                if (++runs == 1) throw Error(ErrorKind::transient, "warehouse is down");
              }};
  const Message order = message_with_id("o-1");

  EXPECT_THROW((void)dedup.handle(order), Error);
  EXPECT_EQ(dedup.handle(order), Outcome::done);       // the retry does the work
  EXPECT_EQ(dedup.handle(order), Outcome::duplicate);  // the redelivery does not
  EXPECT_EQ(runs, 2);
}

TEST(Dedup, IsScopedByConsumer) {
  MemoryStore store;
  int runs = 0;
  const auto effect = [&](const Message&, mysql::Transaction&) { ++runs; };
  Dedup shipping_once{store, shipping(), effect};
  Dedup billing_once{store, {.consumer = "billing", .effects = Effects::transaction}, effect};
  const Message order = message_with_id("o-1");

  EXPECT_EQ(shipping_once.handle(order), Outcome::done);
  EXPECT_EQ(billing_once.handle(order), Outcome::done);
  EXPECT_EQ(runs, 2);
}

TEST(Dedup, GoesOnInTheGroupAfterAMessagesOwnFailureButNotAfterTheServers) {
  MemoryStore store;
  Dedup dedup{store, shipping(), [](const Message& message, mysql::Transaction&) {
                if (message.id == "poison") throw PermanentError("no");
                if (message.id == "outage") throw UnavailableError("down");
              }};
  const std::vector<Message> group{message_with_id("a"), message_with_id("poison"), message_with_id("b"),
                                   message_with_id("outage"), message_with_id("c")};

  const auto settled = dedup.handle(pointers_to(group)).messages;

  ASSERT_EQ(settled.size(), 4u);
  EXPECT_FALSE(settled[0].failure);
  EXPECT_TRUE(settled[1].failure);
  EXPECT_FALSE(settled[2].failure);
  EXPECT_TRUE(settled[3].failure);
  EXPECT_FALSE(store.is_marked("shipping", "c"));
}

TEST(Dedup, RequiresAConsumerAndAChoiceOfEffects) {
  MemoryStore store;
  const auto effect = [](const Message&, mysql::Transaction&) {};

  EXPECT_THROW((Dedup{store, {.consumer = "", .effects = Effects::outside}, effect}), ConfigError);
  EXPECT_THROW((Dedup{store, {.consumer = "ship ping", .effects = Effects::outside}, effect}), ConfigError);
  EXPECT_THROW((Dedup{store, {.consumer = "shipping"}, effect}), ConfigError);
}

TEST(Dedup, KeepsTheKeyThatARetriedRecordBrought) {
  MemoryStore store;
  DedupOptions options = shipping();
  options.key_from = KeyFrom::record_key();
  const Dedup dedup{store, options, [](const Message&, mysql::Transaction&) {}};
  Message retried = message_with_id("o-1");
  retried.from_retry_topic = true;
  retried.business_key = "the key it failed under";

  dedup.identify(retried);

  EXPECT_EQ(retried.business_key, "the key it failed under");
}

TEST(Dedup, StopsOnAMissingKeyWhenToldTo) {
  MemoryStore store;
  DedupOptions options = shipping();
  options.key_from = KeyFrom::header("order-id");
  Message message = message_with_id("o-1");
  {
    const Dedup dedup{store, options, [](const Message&, mysql::Transaction&) {}};
    EXPECT_THROW(dedup.identify(message), PermanentError);
  }
  options.missing_key = MissingKey::stop;
  const Dedup dedup{store, options, [](const Message&, mysql::Transaction&) {}};
  EXPECT_THROW(dedup.identify(message), MisuseError);
}

}  // namespace
}  // namespace oncemark::inbox
