// dlq-replay edit, run as a process.
#include <fstream>

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
using ::testing::Not;

class EditTest : public ::testing::Test {
 protected:
  std::uint64_t letter_of(const Bytes& payload) {
    Message message = order_message("o-1");
    message.payload = payload;
    return bury(pool_, message);
  }
  Ended edit(std::uint64_t letter, std::vector<std::string> flags,
             const std::map<std::string, std::string>& environment = {}) {
    flags.insert(flags.begin(), {program("dlq-replay"), "edit", std::to_string(letter)});
    return run(flags, with(environment_of(schema_), environment));
  }
  /// A file of the test's own with this in it.
  std::string file(const std::string& text) {
    const std::string path = ::testing::TempDir() + "edit_test_" + std::to_string(::getpid());
    std::ofstream(path, std::ios::binary) << text;
    return path;
  }
  [[nodiscard]] mysql::Rows sent() {
    return pool_.transact([](mysql::Transaction& tx) {
      return tx.query("SELECT message_id, payload, headers FROM outbox_message WHERE purpose LIKE 'retry:%'");
    });
  }
  [[nodiscard]] std::string state() {
    return pool_.transact(
        [](mysql::Transaction& tx) { return tx.query("SELECT state FROM dead_letter").at(0).get<std::string>(0); });
  }

  TempSchema schema_{Tables::ours};
  mysql::Pool pool_{schema_.options()};
};

TEST_F(EditTest, APatchedLetterIsANewMessageThatNamesTheOldOne) {
  const auto letter = letter_of(R"({"id":1234567890123456789,"to":"x"})");

  const Ended ended =
      edit(letter, {"--patch", file(R"([{"op":"replace","path":"/to","value":"y"}])"), "--yes", "--reason", "typo"});

  EXPECT_EQ(ended.code, 0) << ended.err;
  EXPECT_THAT(ended.err, AllOf(HasSubstr("-   \"to\": \"x\""), HasSubstr("+   \"to\": \"y\"")));
  EXPECT_EQ(state(), "replaying");
  const mysql::Rows rows = sent();
  ASSERT_EQ(rows.size(), 1u);
  EXPECT_NE(rows.at(0).get<std::string>(0), "o-1");
  EXPECT_THAT(ended.out, HasSubstr("goes on as message " + rows.at(0).get<std::string>(0)));
  EXPECT_EQ(rows.at(0).get<std::string>(1), R"({"id":1234567890123456789,"to":"y"})");
  EXPECT_THAT(rows.at(0).get<std::string>(2),
              AllOf(HasSubstr(R"(["om-edited-from","o-1"])"), HasSubstr(R"(["om-business-key","o-1"])"),
                    HasSubstr(R"(["trace","t-o-1"])"), Not(HasSubstr("om-message-id"))));
  EXPECT_EQ(pool_.transact([](mysql::Transaction& tx) {
    return tx
        .query(
            "SELECT COUNT(*) FROM replay_audit WHERE action = 'edit' AND outcome = 'replayed' AND reason = "
            "'typo'")
        .at(0)
        .get<int>(0);
  }),
            1);
  EXPECT_EQ(edit(letter, {"--header", "a=b", "--yes"}).code, 6) << "it is not dead any more";
}

TEST_F(EditTest, TheEditorChangesNoByteThatItDoesNotTouch) {
  const std::string before = "{\"price\": 1.10,  \"price\":1.10, \"note\":\"\xff\\u00e9\"}";
  const auto letter = letter_of(before);

  EXPECT_EQ(edit(letter, {"--merge-patch", file("{}"), "--yes"}).code, 2) << "it is no JSON";
  EXPECT_EQ(edit(letter, {"--yes"}, {{"EDITOR", "sed -i s/note/NOTE/"}}).code, 0);

  EXPECT_EQ(sent().at(0).get<std::string>(1), "{\"price\": 1.10,  \"price\":1.10, \"NOTE\":\"\xff\\u00e9\"}");
}

TEST_F(EditTest, RefusesWhatWouldChangeMoreThanWasAskedFor) {
  const auto letter = letter_of(R"({"price":1.10,"to":"x"})");

  const Ended ended = edit(letter, {"--merge-patch", file(R"({"to":"y"})"), "--yes"});
  EXPECT_EQ(ended.code, 2);
  EXPECT_THAT(ended.err, AllOf(HasSubstr("1.10"), HasSubstr("$EDITOR")));
  EXPECT_EQ(edit(letter, {"--yes"}, {{"EDITOR", "true"}}).code, 6) << "nothing was changed";
  EXPECT_EQ(edit(letter, {"--yes"}, {{"EDITOR", "false"}}).code, 2);
  EXPECT_EQ(edit(letter, {"--header", "om-life=7", "--yes"}).code, 2);
  EXPECT_EQ(edit(letter, {"--patch", "a", "--payload", "b"}).code, 2);
  EXPECT_EQ(edit(letter, {"--payload", "/nowhere/at/all", "--yes"}).code, 2);
  EXPECT_EQ(edit(letter, {"--header", "a=b"}).code, 6) << "nobody has said yes";
  EXPECT_EQ(edit(999, {"--header", "a=b", "--yes"}).code, 2);
  EXPECT_EQ(state(), "dead");
  EXPECT_EQ(sent().size(), 0u);
}

TEST_F(EditTest, ADryRunShowsTheDiffSafeForATerminal) {
  const auto letter = letter_of(std::string("a\x1b[2Jb\nc"));

  const Ended ended = edit(letter, {"--payload", file("a\x1b]0;title\x07\nc"), "--header", "x=\x1b[31m", "--dry-run"});

  EXPECT_EQ(ended.code, 0) << ended.err;
  EXPECT_EQ(ended.out.find('\x1b'), std::string::npos);
  EXPECT_EQ(ended.out.find('\x07'), std::string::npos);
  EXPECT_THAT(ended.out, AllOf(HasSubstr("- a"), HasSubstr("+ a"), HasSubstr("  c")));
  const Ended as_json = edit(letter, {"--payload", file("b"), "--dry-run", "--json"});
  EXPECT_EQ(json::parse(as_json.out)["event"], "diff");
  EXPECT_EQ(state(), "dead");
}

TEST_F(EditTest, TheDiffHidesNoOtherNotationOfANumber) {
  const auto letter = letter_of(R"({"price":1.10, "empty": [ ], "to":"a\"b","to":"c"})");

  const Ended ended =
      edit(letter, {"--payload", file(R"({"price":1.1,"empty":[],"to":"a\"b","to":"d"})"), "--dry-run"});

  EXPECT_THAT(ended.out, AllOf(HasSubstr("-   \"price\": 1.10,"), HasSubstr("+   \"price\": 1.1,"),
                               HasSubstr("    \"empty\": [],"), HasSubstr("    \"to\": \"a\\\"b\","),
                               HasSubstr("-   \"to\": \"c\""), HasSubstr("+   \"to\": \"d\"")));
}

TEST_F(EditTest, KilledBeforeTheCommitTheLetterIsAsItWas) {
  const auto letter = letter_of("x");

  EXPECT_EQ(edit(letter, {"--payload", file("y"), "--yes"}, {{"ONCEMARK_FAULT", "letters.before_commit:kill"}}).code,
            137);
  EXPECT_EQ(state(), "dead");
  EXPECT_EQ(sent().size(), 0u);
  const Ended again = edit(letter, {"--payload", file("y"), "--yes", "--json"});
  EXPECT_EQ(again.code, 0);
  EXPECT_EQ(sent().at(0).get<std::string>(1), "y");
}

}  // namespace
}  // namespace oncemark::testing
