// dlq-replay topics, list, show and jobs, run as processes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "support/letters.hpp"
#include "support/process.hpp"
#include "support/tool_environment.hpp"

namespace oncemark::testing {
namespace {

using nlohmann::json;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

std::vector<json> lines_of(const std::string& text) {
  std::vector<json> lines;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = text.find('\n', begin);
    lines.push_back(json::parse(text.substr(begin, end - begin)));
    begin = end + 1;
  }
  return lines;
}

/// No byte that a terminal would obey, except the newline.
::testing::AssertionResult is_harmless(const std::string& text) {
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    const bool is_c1 = byte == 0xC2 && i + 1 < text.size() && static_cast<unsigned char>(text[i + 1]) < 0xA0;
    if ((byte < 0x20 && byte != '\n') || byte == 0x7F || is_c1) {
      return ::testing::AssertionFailure() << "byte " << int{byte} << " at " << i;
    }
  }
  return ::testing::AssertionSuccess();
}

class LookTest : public ::testing::Test {
 protected:
  Ended look(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), program("dlq-replay"));
    return run(arguments, environment_of(schema_));
  }

  TempSchema schema_{Tables::ours};
  mysql::Pool pool_{schema_.options()};
};

TEST_F(LookTest, TopicsSumsUp) {
  bury_orders(pool_, 2);

  const Ended text = look({"topics"});
  const auto lines = lines_of(look({"topics", "--json"}).out);

  EXPECT_EQ(text.code, 0);
  EXPECT_THAT(text.out, AllOf(HasSubstr("dlq.shipping.orders"), HasSubstr("permanent (100%)")));
  ASSERT_EQ(lines.size(), 1u);
  EXPECT_EQ(lines[0]["dead"], 2);
  EXPECT_EQ(lines[0]["consumer"], "shipping");
}

TEST_F(LookTest, AnEmptyDatabaseIsNoError) {
  for (const std::string verb : {"topics", "list", "jobs"}) {
    const Ended ended = look({verb});
    EXPECT_EQ(ended.code, 0);
    EXPECT_THAT(ended.out, IsEmpty());
    EXPECT_THAT(look({verb, "--json"}).out, IsEmpty());
  }
}

TEST_F(LookTest, ListPagesFromTheNewest) {
  const auto letters = bury_orders(pool_, 3);

  const Ended first = look({"list", "--limit", "2", "--json"});
  const auto second = lines_of(look({"list", "--limit", "2", "--json", "--before", std::to_string(letters[1])}).out);

  EXPECT_EQ(lines_of(first.out).at(0)["message_id"], "o-3");
  EXPECT_THAT(first.err, HasSubstr("--before " + std::to_string(letters[1])));
  ASSERT_EQ(second.size(), 1u);
  EXPECT_EQ(second[0]["message_id"], "o-1");
}

TEST_F(LookTest, ListSelects) {
  bury_orders(pool_, 2);
  bury(pool_, order_message("b-1"), "billing", "no customer");

  EXPECT_EQ(lines_of(look({"list", "--consumer", "billing", "--json"}).out).size(), 1u);
  EXPECT_EQ(lines_of(look({"list", "--since", "1h", "--json"}).out).size(), 3u);
  EXPECT_EQ(lines_of(look({"list", "--until", "1h", "--json"}).out).size(), 0u);
  EXPECT_EQ(lines_of(look({"list", "--state", "replayed", "--json"}).out).size(), 0u);
  EXPECT_EQ(lines_of(look({"list", "--state", "any", "--message-id", "o-2", "--json"}).out).size(), 1u);
  EXPECT_EQ(look({"list", "--consumer", "b\xc3\xa4r"}).code, 2);
}

TEST_F(LookTest, ShowTellsEverythingAboutALetter) {
  const auto id = bury(pool_, order_message("o-1"));

  const Ended text = look({"show", std::to_string(id)});
  const auto json_form = lines_of(look({"show", "o-1", "--json"}).out).at(0);

  EXPECT_EQ(text.code, 0);
  EXPECT_THAT(text.out, AllOf(HasSubstr("orders/3@7"), HasSubstr("warehouse 17 refuses"), HasSubstr("trace: t-o-1"),
                              HasSubstr("payload of o-1"), HasSubstr("dead, life 1"), HasSubstr("dlq:shipping:1")));
  EXPECT_EQ(json_form["id"], id);
  EXPECT_EQ(json_form["payload"], "payload of o-1");
  EXPECT_EQ(json_form["now"]["state"], "dead");
  EXPECT_EQ(json_form["outbox"][0]["topic"], "dlq.shipping.orders");
}

TEST_F(LookTest, ShowTellsTheFirstErrorWhereItIsAnotherThanTheLast) {
  const auto alike = std::to_string(bury(pool_, order_message("o-1")));
  const auto other = std::to_string(bury(pool_, order_message("o-2")));
  pool_.transact([&](mysql::Transaction& tx) {
    tx.execute("UPDATE dead_letter SET first_error_class = 'mysql.1205', first_error = 'lock wait' WHERE id = ?",
               other);
  });
  const auto older = std::to_string(bury(pool_, order_message("o-3")));
  pool_.transact([&](mysql::Transaction& tx) {  // as a library wrote it that did not keep it
    tx.execute("UPDATE dead_letter SET first_error_class = NULL, first_error = NULL WHERE id = ?", older);
  });

  EXPECT_THAT(look({"show", alike}).out, Not(HasSubstr("first error")));
  EXPECT_THAT(look({"show", older}).out, Not(HasSubstr("first error")));
  EXPECT_THAT(look({"show", other}).out,
              AllOf(HasSubstr("first error   mysql.1205"), HasSubstr("lock wait"), HasSubstr("last error    permanent"),
                    HasSubstr("warehouse 17 refuses")));
  EXPECT_EQ(lines_of(look({"show", other, "--json"}).out).at(0)["first_error"]["text"], "lock wait");
  EXPECT_EQ(lines_of(look({"show", older, "--json"}).out).at(0)["first_error"], nullptr);
}

TEST_F(LookTest, ShowSaysWhenThereIsNoSuchLetterOrAreSeveral) {
  bury(pool_, order_message("o-1"), "shipping");
  bury(pool_, order_message("o-1"), "billing");

  EXPECT_THAT(look({"show", "o-1"}).err, HasSubstr("show one of "));
  EXPECT_THAT(look({"show", "absent"}).err, HasSubstr("there is no letter"));
  EXPECT_EQ(look({"show", "absent"}).code, 2);
}

TEST_F(LookTest, RawWritesExactlyThePayload) {
  Message message = order_message("o-1");
  message.payload = std::string("\xff\0\x1b[31m\n", 8);
  const auto id = std::to_string(bury(pool_, message));

  EXPECT_EQ(look({"show", id, "--raw"}).out, message.payload.str());
}

TEST_F(LookTest, HostileBytesNeverReachTheTerminal) {
  const std::string hostile = std::string("a\x1b]0;owned\x07\x1b[2J\r\n\0z", 19) +
                              "\x7f\xc2\x9b"
                              "31m\xff\xfe\xed\xa0\x80";
  Message message = order_message(hostile);
  message.business_key = hostile + "k";
  message.key = hostile;
  message.payload = hostile;
  message.headers = {{hostile, hostile}, {"big", std::string(1 << 20, '\x1b')}, {"null", nullptr}};
  const auto id = std::to_string(bury(pool_, message, "shipping", hostile));

  const Ended shown = look({"show", id});
  const Ended listed = look({"list"});
  const Ended summed = look({"topics"});
  const Ended planned = look({"run", "--consumer", "shipping", "--dry-run"});

  for (const Ended& ended : {shown, listed, summed, planned}) {
    EXPECT_EQ(ended.code, 0) << ended.err;
    EXPECT_TRUE(is_harmless(ended.out));
    EXPECT_TRUE(is_harmless(ended.err));
  }
  EXPECT_THAT(shown.out, AllOf(HasSubstr("\\x1b]0;owned"), HasSubstr("1 048 576 bytes")));
  EXPECT_LT(shown.out.size(), 20'000u);
}

TEST_F(LookTest, HostileBytesComeBackWholeFromJson) {
  const std::string bytes("\xff\0\x1b", 3);
  Message message = order_message("o-1");
  message.payload = bytes;
  message.headers = {{"h", bytes}, {"n", nullptr}};

  const auto id = std::to_string(bury(pool_, message));
  const Ended ended = look({"show", id, "--json"});

  EXPECT_TRUE(is_harmless(ended.out));
  const auto letter = lines_of(ended.out).at(0);
  EXPECT_EQ(letter["payload"]["base64"], "/wAb");
  EXPECT_EQ(letter["headers"][0][1]["base64"], "/wAb");
  EXPECT_TRUE(letter["headers"][1][1].is_null());
}

TEST_F(LookTest, TellsATombstoneFromAnEmptyPayload) {
  Message tombstone = order_message("o-1");
  tombstone.payload = nullptr;
  Message empty = order_message("o-2");
  empty.payload = "";

  EXPECT_THAT(look({"show", std::to_string(bury(pool_, tombstone))}).out, HasSubstr("Payload (null)"));
  EXPECT_THAT(look({"show", std::to_string(bury(pool_, empty))}).out, HasSubstr("Payload (0 bytes)"));
}

TEST_F(LookTest, APasswordThatIsWrongEndsWithTwoAndIsNotShown) {
  const auto environment = with(environment_of(schema_), {{"ONCEMARK_MYSQL__PASSWORD_FILE", "/proc/self/comm"}});

  const Ended ended = run({program("dlq-replay"), "topics"}, environment);

  EXPECT_EQ(ended.code, 2);
  EXPECT_THAT(ended.err, AllOf(HasSubstr("Access denied"), HasSubstr("config: mysql.password_file, environment"),
                               Not(HasSubstr("comm\n"))));
}

TEST(LookWithoutTables, NamesTheCommandThatMakesThem) {
  TempSchema schema(Tables::none);

  for (const std::string verb : {"topics", "list", "jobs"}) {
    const Ended ended = run({program("dlq-replay"), verb}, environment_of(schema, {}));
    EXPECT_EQ(ended.code, 2);
    EXPECT_THAT(ended.err, HasSubstr("run `oncemark schema apply`"));
  }
}

}  // namespace
}  // namespace oncemark::testing
