// reconcile export and compare: two databases, files between them.
#include <filesystem>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/process.hpp"
#include "support/tool_environment.hpp"
#include "support/two_sides.hpp"

namespace oncemark::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class ExchangeTest : public ::testing::Test {
 protected:
  ExchangeTest() { std::filesystem::create_directories(folder_); }
  ~ExchangeTest() override { std::filesystem::remove_all(folder_); }

  Ended at_sender(std::vector<std::string> words) { return reconcile(std::move(words), sender_); }
  Ended at_consumer(std::vector<std::string> words) { return reconcile(std::move(words), consumer_); }
  Ended reconcile(std::vector<std::string> words, const TempSchema& schema) {
    words.insert(words.begin(), program("reconcile"));
    return run(std::move(words), environment_of(schema));
  }
  /// Sent there, and consumed here with the event time that the record carries.
  void carry_over(const std::string& id) {
    const auto row = sent_.transact([&](mysql::Transaction& tx) {
      return tx
          .query(
              "SELECT COALESCE(business_key, message_id), payload_hash, event_time FROM outbox_message WHERE "
              "message_id = ?",
              id)
          .at(0);
    });
    settled_.transact([&](mysql::Transaction& tx) {
      tx.execute(
          "INSERT INTO consumed_message (consumer, message_key, state, life, attempt, token, payload_hash, message_id, "
          "origin_topic, origin_partition, origin_offset, event_time, consumed_at) VALUES ('shipping', ?, 'done', 1, "
          "0, "
          "1, ?, ?, 'orders', 0, 7, ?, UTC_TIMESTAMP(6))",
          row.get<std::string>(0), row.get<std::uint64_t>(1), id, row.get<Time>(2));
    });
  }
  void send_hundred() {
    for (int i = 120; i > 20; --i) {
      const std::string id = "m-" + std::to_string(i);
      insert_sent(sent_, {.id = id, .minutes_ago = i});
      carry_over(id);
    }
  }
  std::string file(const std::string& name) const { return folder_ / name; }

  TempSchema sender_{Tables::ours};
  TempSchema consumer_{Tables::ours};
  mysql::Pool sent_{sender_.options()};
  mysql::Pool settled_{consumer_.options()};
  std::filesystem::path folder_ = std::filesystem::temp_directory_path() / sender_.name();
};

TEST_F(ExchangeTest, IsSilentWhenBothDatabasesAgree) {
  send_hundred();
  ASSERT_EQ(at_sender({"export", "--output", file("sent")}).code, 0);

  const Ended ended = at_consumer({"compare", file("sent"), "--consumer", "shipping"});
  EXPECT_EQ(ended.code, 0) << ended.err;
  EXPECT_THAT(ended.out, IsEmpty());
}

TEST_F(ExchangeTest, NamesWhatDiffersWhereItIsSentFromAndRepairsItThere) {
  send_hundred();
  insert_sent(sent_, {.id = "lost", .minutes_ago = 60});
  insert_sent(sent_, {.id = "twice-1", .business_key = "twice", .minutes_ago = 59});
  insert_sent(sent_, {.id = "twice-2", .business_key = "twice", .minutes_ago = 58});
  carry_over("twice-1");
  insert_settled(settled_, {.id = "forged", .minutes_ago = 57});

  ASSERT_EQ(at_sender({"export", "--output", file("sent")}).code, 0);
  const Ended answered = at_consumer({"compare", file("sent"), "--consumer", "shipping", "--output", file("answer")});
  EXPECT_EQ(answered.code, 4) << answered.err;
  EXPECT_THAT(answered.out, HasSubstr("buckets differ"));

  const Ended named = at_sender({"compare", file("answer")});
  EXPECT_EQ(named.code, 4) << named.err;
  EXPECT_THAT(named.out,
              AllOf(HasSubstr("lost"), HasSubstr("forged"), HasSubstr("1 unsettled"), HasSubstr("1 unexpected")));
  const Ended repaired = at_sender(
      {"compare", file("answer"), "--repair", "--waive", "unexpected", "--reason", "r", "--confirm", sender_.name()});
  EXPECT_EQ(repaired.code, 0) << repaired.out << repaired.err;
  EXPECT_EQ(at_sender({"compare", file("answer")}).code, 0);
  EXPECT_EQ(sent_.transact([](mysql::Transaction& tx) {
    return tx.query("SELECT COUNT(*) FROM outbox_message WHERE message_id = 'lost' AND status = 'pending'")
        .at(0)
        .get<int>(0);
  }),
            1);
}

TEST_F(ExchangeTest, RefusesAFileThatWasCutOffOrIsNoneOfOurs) {
  send_hundred();
  ASSERT_EQ(at_sender({"export", "--output", file("sent")}).code, 0);
  std::filesystem::resize_file(file("sent"), std::filesystem::file_size(file("sent")) - 10);

  const Ended cut = at_consumer({"compare", file("sent"), "--consumer", "shipping"});
  EXPECT_EQ(cut.code, 2);
  EXPECT_THAT(cut.err, HasSubstr("cut off"));
  std::ofstream(file("other")) << "SELECT 1;\n";
  EXPECT_THAT(at_consumer({"compare", file("other"), "--consumer", "shipping"}).err, HasSubstr("no digest file"));
  EXPECT_THAT(at_consumer({"compare", file("nothing")}).err, HasSubstr("cannot read"));
}

}  // namespace
}  // namespace oncemark::testing
