#include <oncemark/inbox/dedup.hpp>

#include <algorithm>

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

TEST(Dedup, RunsGroupsWithSavepointsFromTheStartUntilSomeWentWell) {
  MemoryStore store;
  std::size_t calls = 0;
  Dedup dedup{store, shipping(), [&](const Message& message, mysql::Transaction&) {
                ++calls;
                if (message.id.starts_with("bad")) throw std::runtime_error("not this one");
              }};
  int number = 0;
  const auto calls_for = [&](bool has_bad_one) {
    calls = 0;
    const std::string suffix = std::to_string(++number);
    const std::vector<Message> group{message_with_id("a" + suffix),
                                     message_with_id((has_bad_one ? "bad" : "b") + suffix)};
    (void)dedup.handle(pointers_to(group));
    return calls;
  };

  EXPECT_EQ(calls_for(true), 4u) << "found out, and run again";
  EXPECT_EQ(calls_for(true), 2u);
  const std::size_t before = store.session().texts().size();
  for (int i = 0; i < 8; ++i) EXPECT_EQ(calls_for(false), 2u);
  const auto has_savepoint = [&](std::size_t from) {
    const auto texts = store.session().texts();
    return std::any_of(texts.begin() + static_cast<std::ptrdiff_t>(from), texts.end(),
                       [](const std::string& sql) { return sql.starts_with("SAVEPOINT"); });
  };
  EXPECT_TRUE(has_savepoint(before));
  const std::size_t after = store.session().texts().size();
  EXPECT_EQ(calls_for(false), 2u);
  EXPECT_FALSE(has_savepoint(after)) << "eight groups went well";
}

TEST(Dedup, SetsASavepointAfterEachMessageThatWentWell) {
  MemoryStore store;
  Dedup dedup{store, shipping(), [](const Message& message, mysql::Transaction& tx) {
                if (message.id.starts_with("bad")) throw std::runtime_error("not this one");
                tx.execute("INSERT INTO effect VALUES (?)", message.id);
              }};
  const std::vector<Message> group{message_with_id("bad1"), message_with_id("bad2"), message_with_id("good1"),
                                   message_with_id("bad3"), message_with_id("good2")};
  (void)dedup.handle(pointers_to(group));  // fails, and is run again with savepoints

  const std::string save = "SAVEPOINT `oncemark_message`";
  const std::string back = "ROLLBACK TO SAVEPOINT `oncemark_message`";
  const std::string effect = "INSERT INTO effect VALUES (?)";
  std::vector<std::string> savepoints;
  for (const std::string& sql : store.session().texts()) {
    if (sql == save || sql == back || sql == effect) savepoints.push_back(sql);
  }
  EXPECT_THAT(savepoints, ::testing::ElementsAre(save, back, back, effect, save, back, effect));
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

/// The error class and stage of what became of a second message with the key of the first; "duplicate" for an outcome.
std::string second_of(const DedupOptions& options, const Bytes& first, const Bytes& second) {
  MemoryStore store;
  Dedup dedup{store, options, [](const Message&, mysql::Transaction&) {}};
  std::vector<Message> group{message_with_id("o-1", first), message_with_id("o-1", second)};
  for (Message& message : group) dedup.identify(message);
  const consume::Settled settled = dedup.handle(pointers_to(group)).messages.at(1);
  if (!settled.failure) return std::string(settled.outcome == Outcome::duplicate ? "duplicate" : "done");
  try {
    std::rethrow_exception(settled.failure);
  } catch (const Error& error) {
    return error.error_class() + "/" + std::string(to_string(settled.stage));
  }
}

TEST(Dedup, CountsAKeyConflictAsADuplicateUnlessALetterIsWanted) {
  DedupOptions options = shipping();
  EXPECT_EQ(second_of(options, "one", "other"), "duplicate");

  options.on_key_conflict = OnKeyConflict::dead_letter;
  EXPECT_EQ(second_of(options, "one", "other"), "key_conflict/key");
  EXPECT_EQ(second_of(options, "one", nullptr), "key_conflict/key");
  EXPECT_EQ(second_of(options, "one", "one"), "duplicate");
}

TEST(Dedup, ComparesTheChosenFieldsOnly) {
  DedupOptions options = shipping();
  options.on_key_conflict = OnKeyConflict::dead_letter;
  options.conflict_fields = {"/total", "/customer/id"};
  const std::string order = R"({"total":250,"customer":{"id":7},"at":"10:00"})";

  EXPECT_EQ(second_of(options, order, R"({"at":"10:05", "customer":{"id":7}, "total":250})"), "duplicate");
  EXPECT_EQ(second_of(options, order, R"({"total":251,"customer":{"id":7},"at":"10:00"})"), "key_conflict/key");
  EXPECT_EQ(second_of(options, order, "no json"), "key_conflict/key");
  EXPECT_EQ(second_of(options, R"({"at":1})", R"({"at":2})"), "key_conflict/key") << "none of the fields: every byte";
  EXPECT_EQ(second_of(options, "no json", "no json"), "duplicate");
}

TEST(Dedup, FindsTheContentsOfARetriedRecordToo) {
  MemoryStore store;
  DedupOptions options = shipping();
  options.conflict_fields = {"/total"};
  const Dedup dedup{store, options, [](const Message&, mysql::Transaction&) {}};
  Message fresh = message_with_id("o-1", R"({"total":250})");
  Message retried = fresh;
  retried.from_retry_topic = true;

  dedup.identify(fresh);
  dedup.identify(retried);

  ASSERT_TRUE(retried.content_hash);
  EXPECT_EQ(retried.content_hash, fresh.content_hash);
}

TEST(Dedup, TakesAVerdictThatIsReturnedForOneThatIsThrown) {
  MemoryStore store;
  Dedup dedup{store, shipping(), [](const Message& message, mysql::Transaction&) {
                if (message.id == "busy") return Verdict::retry_after(std::chrono::seconds(7), "rate limit");
                if (message.id == "closed") return Verdict::dead_letter("the shop has closed");
                return Verdict::done();
              }};

  EXPECT_EQ(dedup.handle(message_with_id("o-1")), Outcome::done);
  try {
    (void)dedup.handle(message_with_id("busy"));
    FAIL() << "nothing was thrown";
  } catch (const RetryAfterError& error) {
    EXPECT_EQ(error.delay(), std::chrono::seconds(7));
    EXPECT_STREQ(error.what(), "rate limit");
  }
  EXPECT_THROW((void)dedup.handle(message_with_id("closed")), DeadLetterError);
  EXPECT_FALSE(store.is_marked("shipping", "busy"));
}

void ship(const Message&, mysql::Transaction&) {}

TEST(Dedup, TakesFunctionsAsWellAsLambdas) {
  MemoryStore store;
  const std::function<void(const Message&, mysql::Transaction&)> function = ship;
  int runs = 0;

  EXPECT_EQ((Dedup{store, shipping(), ship}.handle(message_with_id("a"))), Outcome::done);
  EXPECT_EQ((Dedup{store, shipping(), &ship}.handle(message_with_id("b"))), Outcome::done);
  EXPECT_EQ((Dedup{store, shipping(), function}.handle(message_with_id("c"))), Outcome::done);
  EXPECT_EQ((Dedup{store, shipping(), [&runs](const auto&, auto&) mutable { ++runs; }}.handle(message_with_id("d"))),
            Outcome::done);
  EXPECT_EQ(runs, 1);
}

TEST(Dedup, SaysAtStartWhatIsNoJsonPointer) {
  MemoryStore store;
  DedupOptions options = shipping();
  options.conflict_fields = {"total"};

  EXPECT_THROW((Dedup{store, options, [](const Message&, mysql::Transaction&) {}}), ConfigError);
}

TEST(Dedup, ReadsSeveralTopicsOnlyByKeysThatAreTheSameOnAll) {
  MemoryStore store;
  const auto check = [&](std::optional<KeyFrom> key_from, const std::vector<std::string>& topics) {
    DedupOptions options = shipping();
    options.key_from = std::move(key_from);
    Dedup(store, options, [](const Message&, mysql::Transaction&) {}).check_topics(topics);
  };

  EXPECT_NO_THROW(check(std::nullopt, {"orders", "invoices"}));
  EXPECT_NO_THROW(check(KeyFrom::cloud_event(), {"orders", "invoices"}));
  EXPECT_NO_THROW(check(KeyFrom::record_key(), {"orders"}));
  try {
    check(KeyFrom::record_key(), {"orders", "invoices"});
    FAIL() << "nothing was thrown";
  } catch (const MisuseError& error) {
    EXPECT_THAT(error.what(), ::testing::HasSubstr("orders, invoices"));
  }
}

}  // namespace
}  // namespace oncemark::inbox
