// outbox-relay list, retry and skip, as processes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <oncemark/outbox/writer.hpp>

#include "support/process.hpp"
#include "support/tool_environment.hpp"

namespace oncemark::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

class StuckTest : public ::testing::Test {
 protected:
  /// Rows as a relay leaves them that the broker refused.
  void put(const std::string& id, const std::string& topic, const std::string& status,
           const std::string& purpose = "") {
    pool_.transact([&](mysql::Transaction& tx) {
      outbox::append(tx, {.topic = topic, .key = "k", .id = id});
      tx.execute(
          "UPDATE outbox_message SET status = ?, attempts = 10, last_error = 'too large', purpose = ? WHERE "
          "message_id = ?",
          status, purpose, id);
    });
  }
  Ended relay(std::vector<std::string> words, const std::map<std::string, std::string>& changes = {}) {
    words.insert(words.begin(), program("outbox-relay"));
    return run(std::move(words), with(environment_of(schema_), changes));
  }
  std::uint64_t count(const std::string& what) {
    return pool_.transact(
        [&](mysql::Transaction& tx) { return tx.query("SELECT COUNT(*) FROM " + what).at(0).get<std::uint64_t>(0); });
  }

  TempSchema schema_{Tables::ours};
  mysql::Pool pool_{schema_.options()};
};

TEST_F(StuckTest, ListsWhatWasRefused) {
  put("m-1", "orders", "dead");
  put("m-2", "orders", "failing");
  put("m-3", "orders", "pending");

  EXPECT_THAT(relay({"list"}).out,
              AllOf(HasSubstr("m-1"), HasSubstr("m-2"), HasSubstr("too large"), Not(HasSubstr("m-3"))));
  EXPECT_THAT(relay({"list", "--dead", "--json"}).out, AllOf(HasSubstr("\"m-1\""), Not(HasSubstr("m-2"))));
  EXPECT_THAT(relay({"list", "--name", "shipping"}).err, HasSubstr("No row of relay shipping"));
}

TEST_F(StuckTest, RetriesWhatIsSelectedAndWritesItDown) {
  put("m-1", "orders", "dead");
  put("m-2", "other", "dead");

  EXPECT_EQ(relay({"retry", "--topic", "orders", "--yes", "--reason", "topic made", "--operator", "ann"}).code, 0);

  EXPECT_EQ(count("outbox_message WHERE message_id = 'm-1' AND status = 'pending' AND attempts = 0"), 1u);
  EXPECT_EQ(count("outbox_message WHERE message_id = 'm-2' AND status = 'dead' AND attempts = 10"), 1u);
  EXPECT_EQ(count("replay_audit WHERE consumer = 'main' AND identity = 'm-1' AND action = 'outbox-retry' AND "
                  "operator = 'ann' AND reason = 'topic made'"),
            1u);
}

TEST_F(StuckTest, SkipsForGood) {
  put("m-1", "orders", "dead");
  put("m-2", "orders", "failing");

  EXPECT_EQ(relay({"skip", "--message-id", "m-1", "--yes"}).code, 0);

  EXPECT_EQ(count("outbox_message WHERE message_id = 'm-1'"), 0u);
  EXPECT_EQ(count("outbox_message WHERE message_id = 'm-2'"), 1u);
  EXPECT_EQ(count("replay_audit WHERE action = 'outbox-skip' AND outcome = 'removed'"), 1u);
}

TEST_F(StuckTest, SkipsNoRetryOfAConsumer) {
  put("m-1", "retry.g.orders", "failing", "retry:shipping:1:1");

  EXPECT_EQ(relay({"skip", "--message-id", "m-1", "--yes"}).code, 3);

  EXPECT_EQ(count("outbox_message"), 1u);
}

TEST_F(StuckTest, DoesNothingUntilItIsConfirmed) {
  put("m-1", "orders", "dead");

  EXPECT_THAT(relay({"retry", "--dry-run"}).out, HasSubstr("m-1"));
  EXPECT_EQ(relay({"skip", "--dead"}).code, 6);
  EXPECT_EQ(relay({"skip", "--older-than", "1h", "--yes"}).code, 0) << "none is so old";
  EXPECT_EQ(count("outbox_message WHERE status = 'dead'"), 1u);

  EXPECT_EQ(relay({"skip", "--confirm", "main"}).code, 0);
  EXPECT_EQ(count("outbox_message"), 0u);
}

TEST_F(StuckTest, LeavesEachRowInOneStateWhenItIsKilled) {
  for (const char* id : {"m-1", "m-2", "m-3"}) put(id, "orders", "dead");

  EXPECT_EQ(relay({"skip", "--topic", "orders", "--yes"}, {{"ONCEMARK_FAULT", "stuck.before_commit:kill@2"}}).code,
            137);
  EXPECT_EQ(count("outbox_message"), 2u);
  EXPECT_EQ(count("replay_audit"), 1u);
  EXPECT_EQ(relay({"skip", "--topic", "orders", "--yes"}).code, 0);

  EXPECT_EQ(count("outbox_message"), 0u);
  EXPECT_EQ(count("replay_audit"), 3u);
}

}  // namespace
}  // namespace oncemark::testing
