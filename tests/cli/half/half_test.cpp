// oncemark half list, commit, drop and run, as processes.
#include <csignal>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <oncemark/core/error.hpp>
#include <oncemark/kafka/producer.hpp>
#include <oncemark/transactional/sender.hpp>

#include "support/eventually.hpp"
#include "support/kafka_log.hpp"
#include "support/process.hpp"
#include "support/tool_environment.hpp"
#include "support/unique_topic.hpp"

namespace oncemark::testing {
namespace {

using namespace std::chrono_literals;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

class HalfTest : public ::testing::Test {
 protected:
  /// A row as a check-back leaves it.
  void park(const std::string& id, const std::string& sender = "shop") {
    pool_.transact([&](mysql::Transaction& tx) {
      tx.execute(
          "INSERT INTO parked_half (message_id, sender, state, topic, message_key, payload, headers, event_time, "
          "since, "
          "checks, reason, parked_at) VALUES (?, ?, 'parked', 'orders', 'k', 'p', '[]', UTC_TIMESTAMP(6), "
          "UTC_TIMESTAMP(6), 15, 'nobody knows', UTC_TIMESTAMP(6))",
          id, sender);
    });
  }
  Ended half(std::vector<std::string> words, const std::map<std::string, std::string>& changes = {}) {
    words.insert(words.begin(), {program(), "half"});
    return run(std::move(words), with(environment_of(schema_), changes));
  }
  std::uint64_t count(const std::string& what) {
    return pool_.transact(
        [&](mysql::Transaction& tx) { return tx.query("SELECT COUNT(*) FROM " + what).at(0).get<std::uint64_t>(0); });
  }

  TempSchema schema_{Tables::ours};
  mysql::Pool pool_{schema_.options()};
};

TEST_F(HalfTest, ListsWhatWaitsForAPerson) {
  park("m-1");
  park("m-2", "other");

  EXPECT_THAT(half({"list"}).out, AllOf(HasSubstr("m-1"), HasSubstr("m-2"), HasSubstr("nobody knows")));
  EXPECT_THAT(half({"list", "--sender", "shop", "--json"}).out, AllOf(HasSubstr("\"m-1\""), Not(HasSubstr("m-2"))));
  EXPECT_THAT(half({"list", "--message-id", "m-3"}).err, HasSubstr("No half message"));
}

TEST_F(HalfTest, SettlesWhatIsNamedAndWritesItDown) {
  park("m-1");
  park("m-2");

  EXPECT_EQ(half({"commit", "--sender", "shop", "--message-id", "m-1", "--yes", "--operator", "ann"}).code, 0);
  EXPECT_EQ(half({"drop", "--sender", "shop", "--message-id", "m-2", "--yes", "--reason", "cancelled"}).code, 0);

  EXPECT_EQ(count("parked_half WHERE message_id = 'm-1' AND state = 'committed'"), 1u);
  EXPECT_EQ(count("parked_half WHERE message_id = 'm-2'"), 0u);
  EXPECT_EQ(count("local_transaction WHERE message_id = 'm-2' AND state = 'discarded'"), 1u);
  EXPECT_EQ(count("replay_audit WHERE action = 'half-commit' AND operator = 'ann' AND identity = 'm-1'"), 1u);
  EXPECT_EQ(count("replay_audit WHERE action = 'half-drop' AND reason = 'cancelled' AND identity = 'm-2'"), 1u);
}

TEST_F(HalfTest, DoesNothingUntilItIsConfirmed) {
  park("m-1");

  EXPECT_EQ(half({"commit"}).code, 2) << "of which sender?";
  EXPECT_EQ(half({"commit", "--sender", "shop", "--yes"}).code, 6) << "all of them?";
  EXPECT_THAT(half({"drop", "--sender", "shop", "--dry-run"}).out, HasSubstr("m-1"));
  EXPECT_EQ(count("parked_half WHERE state = 'parked'"), 1u);

  EXPECT_EQ(half({"drop", "--sender", "shop", "--confirm", "shop"}).code, 0);
  EXPECT_EQ(count("parked_half"), 0u);
}

TEST_F(HalfTest, LeavesEachMessageInOneStateWhenItIsKilled) {
  for (const char* id : {"m-1", "m-2", "m-3"}) park(id);

  EXPECT_EQ(
      half({"drop", "--sender", "shop", "--confirm", "shop"}, {{"ONCEMARK_FAULT", "half.before_settle:kill@2"}}).code,
      137);
  EXPECT_EQ(count("parked_half"), 2u);
  EXPECT_EQ(count("replay_audit"), 1u);

  EXPECT_EQ(half({"drop", "--sender", "shop", "--confirm", "shop"}).code, 0);
  EXPECT_EQ(count("parked_half"), 0u);
  EXPECT_EQ(count("replay_audit"), 3u);
}

TEST_F(HalfTest, RunsTheCheckBackUntilItIsStopped) {
  const std::string sender = unique_name("shop");
  const std::string topic = unique_topic();
  kafka::Admin(Stack::brokers()).create({{.name = transactional::half_topic(sender)}});
  kafka::Producer producer({.brokers = Stack::brokers(), .linger = 0ms});
  transactional::Sender halves(pool_, producer, {.name = sender, .first_check = 1ms});
  EXPECT_THROW(halves.send({.topic = topic, .payload = "p", .id = "m-1"},
                           [](mysql::Transaction&) { throw PermanentError("no"); }),
               PermanentError);

  Process checks({.arguments = {program(), "half", "run", "--sender", sender}, .environment = environment_of(schema_)});

  EXPECT_TRUE(eventually(20s, [&] { return count("local_transaction WHERE state = 'rolled_back'") == 1; }))
      << checks.err();
  checks.send(SIGTERM);
  EXPECT_EQ(checks.wait().code, 0) << checks.err();
  EXPECT_TRUE(read_topic(Stack::brokers(), topic).empty());
}

}  // namespace
}  // namespace oncemark::testing
