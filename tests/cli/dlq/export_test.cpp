// dlq-replay export and import, and --jq, run as processes.
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
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

class ExportTest : public ::testing::Test {
 protected:
  std::uint64_t letter_of(const std::string& id, const Bytes& payload, const Headers& more = {}) {
    Message message = order_message(id);
    message.payload = payload;
    for (const Header& header : more) message.headers.append(header.name, header.value);
    return bury(pool_, message);
  }
  Ended dlq(std::vector<std::string> words, const std::map<std::string, std::string>& environment = {}) {
    words.insert(words.begin(), program("dlq-replay"));
    return run(words, with(environment_of(schema_), environment));
  }
  /// A file of the test's own with these lines in it.
  std::string file(const std::vector<json>& lines) {
    const std::string path = ::testing::TempDir() + "export_test_" + std::to_string(::getpid());
    std::ofstream out(path, std::ios::binary);
    for (const json& line : lines) out << line.dump() << '\n';
    return path;
  }
  std::vector<json> exported(std::vector<std::string> flags = {}) {
    flags.insert(flags.begin(), "export");
    const Ended ended = dlq(flags);
    EXPECT_EQ(ended.code, 0) << ended.err;
    std::vector<json> lines;
    for (std::size_t begin = 0; begin < ended.out.size();) {
      const std::size_t end = ended.out.find('\n', begin);
      lines.push_back(json::parse(ended.out.substr(begin, end - begin)));
      begin = end + 1;
    }
    return lines;
  }
  [[nodiscard]] std::uint64_t count(const std::string& query) {
    return pool_.transact([&](mysql::Transaction& tx) { return tx.query(query).at(0).get<std::uint64_t>(0); });
  }
  [[nodiscard]] mysql::Rows sent() {
    return pool_.transact([](mysql::Transaction& tx) {
      return tx.query(
          "SELECT message_id, payload, headers FROM outbox_message WHERE purpose LIKE 'retry:%' ORDER BY id");
    });
  }

  TempSchema schema_{Tables::ours};
  mysql::Pool pool_{schema_.options()};
};

TEST_F(ExportTest, WritesEveryByteAndTellsNullFromEmpty) {
  letter_of("o-1", R"({"total": 1.10})", {{"trace", "again"}, {"null", nullptr}, {"empty", ""}});
  letter_of("o-2", std::string("\xff\0\x80", 3));
  letter_of("o-3", nullptr);
  letter_of("o-4", std::string("\0\0\0\0\x07 avro", 10));

  const auto lines = exported();

  ASSERT_EQ(lines.size(), 4u);
  EXPECT_EQ(lines[0]["schema"], "oncemark.record/1");
  EXPECT_EQ(lines[0]["value"], json({{"enc", "utf8"}, {"data", R"({"total": 1.10})"}, {"size", 15}}));
  EXPECT_EQ(lines[0]["headers"].dump(), R"([["om-message-id",{"data":"o-1","enc":"utf8"}],)"
                                        R"(["trace",{"data":"t-o-1","enc":"utf8"}],)"
                                        R"(["trace",{"data":"again","enc":"utf8"}],["null",null],)"
                                        R"(["empty",{"data":"","enc":"utf8"}]])");
  EXPECT_EQ(lines[1]["value"], json({{"enc", "base64"}, {"data", "/wCA"}, {"size", 3}}));
  EXPECT_TRUE(lines[2]["value"].is_null());
  EXPECT_EQ(lines[3]["value"]["schema_id"], 7);
  EXPECT_EQ(lines[0]["origin"]["topic"], "orders");
  EXPECT_EQ(lines[0]["error"]["code"], "permanent");
}

TEST_F(ExportTest, WhatWasNotChangedStays) {
  letter_of("o-1", std::string("\xff\0\x80", 3), {{"null", nullptr}});
  letter_of("o-2", nullptr);

  const Ended ended = dlq({"import", file(exported()), "--yes"});

  EXPECT_EQ(ended.code, 0) << ended.err;
  EXPECT_THAT(ended.out, HasSubstr("0 sent as new messages, 2 unchanged"));
  EXPECT_EQ(sent().size(), 0u);
}

TEST_F(ExportTest, AChangedLetterIsANewMessageThatNamesTheOldOne) {
  const auto letter = letter_of("o-1", "EURO", {{"currency", "EURO"}});
  letter_of("o-2", "EUR");
  auto lines = exported();
  lines[0]["value"] = {{"enc", "base64"}, {"data", "/wCA"}};
  lines[0]["headers"][2][1]["data"] = "EUR";

  EXPECT_EQ(dlq({"import", file(lines)}).code, 6) << "nobody has said yes";
  const Ended dry = dlq({"import", file(lines), "--dry-run"});
  EXPECT_THAT(dry.out, AllOf(HasSubstr("- currency"), HasSubstr("1 of 2 letters were changed")));
  EXPECT_EQ(sent().size(), 0u);
  const Ended ended = dlq({"import", file(lines), "--yes", "--reason", "typo", "--json"});

  EXPECT_EQ(ended.code, 0) << ended.err;
  const mysql::Rows rows = sent();
  ASSERT_EQ(rows.size(), 1u);
  const std::string id = rows.at(0).get<std::string>(0);
  EXPECT_EQ(rows.at(0).get<std::string>(1), std::string("\xff\0\x80", 3));
  EXPECT_THAT(rows.at(0).get<std::string>(2),
              AllOf(HasSubstr(R"(["om-edited-from","o-1"])"), HasSubstr(R"(["currency","EUR"])")));
  EXPECT_THAT(ended.out, HasSubstr(id));
  const json shown = json::parse(dlq({"show", std::to_string(letter), "--json"}).out);
  EXPECT_EQ(shown["audits"][0]["new_message_id"], id);
  EXPECT_EQ(shown["outbox"].back()["message_id"], id) << "show tells what the letter has become";
}

TEST_F(ExportTest, RefusesWhatHasChangedMeanwhile) {
  const auto letters = bury_orders(pool_, 5);
  auto lines = exported();
  for (json& line : lines) line["value"]["data"] = "fixed";
  EXPECT_EQ(dlq({"archive", "--consumer", "shipping", "--id", std::to_string(letters[0]), "--yes"}).code, 0);
  lines[1]["replays"] = 1;
  lines[2]["key"]["data"] = "o-4";
  lines[3]["headers"][0][1]["data"] = "o-9";

  const Ended ended = dlq({"import", file(lines), "--yes"});

  EXPECT_EQ(ended.code, 3);
  EXPECT_THAT(ended.err, AllOf(HasSubstr("it is archived meanwhile"), HasSubstr("another letter"),
                               HasSubstr("its key was changed"), HasSubstr("om-")));
  EXPECT_EQ(sent().size(), 1u);
  EXPECT_EQ(dlq({"import", file(lines), "--yes"}).code, 3) << "twice is once";
  EXPECT_EQ(sent().size(), 1u);
}

TEST_F(ExportTest, RefusesAFileThatIsNoneBeforeAnythingIsDone) {
  bury_orders(pool_, 2);
  auto lines = exported();
  for (json& line : lines) line["value"]["data"] = "fixed";
  const auto import = [&](const std::vector<json>& changed) { return dlq({"import", file(changed), "--yes"}); };

  EXPECT_THAT(import({lines[0], "text"}).err, HasSubstr("line 2: it is no JSON object; nothing was done"));
  EXPECT_THAT(import({lines[0], lines[0]}).err, HasSubstr("is there twice"));
  json other = lines[1];
  other["consumer"] = "billing";
  EXPECT_THAT(import({lines[0], other}).err, HasSubstr("one consumer at a time"));
  other = lines[1];
  other["value"]["enc"] = "rot13";
  EXPECT_THAT(import({lines[0], other}).err, HasSubstr("\"value\" is neither"));
  other = lines[1];
  other["dead_letter_id"] = -1;
  EXPECT_EQ(import({other}).code, 2);
  EXPECT_EQ(import({json::parse(R"({"schema":"other/1"})")}).code, 2);
  EXPECT_EQ(dlq({"import", "/nowhere/at/all"}).code, 2);
  EXPECT_EQ(sent().size(), 0u);
}

TEST_F(ExportTest, KilledInAnImportTheRestIsSentTheNextTime) {
  bury_orders(pool_, 3);
  auto lines = exported();
  for (json& line : lines) line["value"]["data"] = "fixed";

  EXPECT_EQ(dlq({"import", file(lines), "--yes"}, {{"ONCEMARK_FAULT", "letters.before_commit:kill@2"}}).code, 137);
  EXPECT_EQ(sent().size(), 1u);
  EXPECT_EQ(dlq({"import", file(lines), "--yes"}).code, 3) << "one is replaying already";
  EXPECT_EQ(sent().size(), 3u);
  EXPECT_EQ(count("SELECT COUNT(DISTINCT message_id) FROM outbox_message WHERE purpose LIKE 'retry:%'"), 3u);
}

TEST_F(ExportTest, HostileContentBreaksNeitherLinesNorCellsNorTheStore) {
  const std::string hostile =
      "=cmd|' /C calc'!A0\x1b]0;x\x07\x1b[2J\",\r\n'; DROP TABLE dead_letter; -- ../../etc/passwd";
  const std::string megabyte(1 << 20, '\x1b');
  Message message = order_message("../../o-1");
  message.payload = hostile;
  message.key = "\xff\xfe=1+1";
  message.headers.append("large", megabyte);
  message.headers.append("-x\n\x9b", "\xc0\xaf");
  bury(pool_, message, "shipping", hostile);

  const auto lines = exported();
  ASSERT_EQ(lines.size(), 1u);
  EXPECT_EQ(lines[0]["value"]["data"], hostile);
  const Ended csv = dlq({"export", "--csv"});
  EXPECT_EQ(csv.code, 0) << csv.err;
  EXPECT_EQ(std::ranges::count(csv.out, '\n'), 2);
  EXPECT_EQ(csv.out.find('\x1b'), std::string::npos);
  EXPECT_THAT(csv.out, AllOf(HasSubstr("\"'=cmd"), Not(HasSubstr(",=")), Not(HasSubstr(",\"="))));
  for (const std::string verb : {"list", "groups"}) {
    const Ended shown = dlq({verb});
    EXPECT_EQ(shown.out.find('\x1b'), std::string::npos) << verb;
  }
  const Ended shown = dlq({"show", "../../o-1"});
  EXPECT_EQ(shown.code, 0) << shown.err;
  EXPECT_EQ(shown.out.find_first_of("\x1b\x07\r"), std::string::npos);
  EXPECT_LT(shown.out.size(), 100'000u);
  auto changed = lines;
  changed[0]["headers"].back()[1] = {{"enc", "utf8"}, {"data", hostile}};
  const Ended imported = dlq({"import", file(changed), "--yes"});
  EXPECT_EQ(imported.code, 0) << imported.err;
  EXPECT_EQ(imported.err.find('\x1b'), std::string::npos);
  EXPECT_EQ(sent().at(0).get<std::string>(1), hostile);
  EXPECT_EQ(decode_headers(sent().at(0).get<std::string>(2)).find("large")->view(), megabyte);
}

TEST_F(ExportTest, AJqProgramSelects) {
  letter_of("o-1", R"({"total": 100, "to": "x"})");
  letter_of("o-2", R"({"total": 101, "to": "y"})", {{"tenant", "acme"}});
  letter_of("o-3", "\xff");
  const auto ids = [&](const std::string& expression) {
    std::vector<std::string> found;
    for (const json& line : exported({"--jq", expression})) found.push_back(line["id"]);
    return found;
  };

  EXPECT_THAT(ids(".value.total? > 100 and .headers.tenant == \"acme\""), ElementsAre("o-2"));
  EXPECT_THAT(ids(".value | type == \"object\" and has(\"base64\")"), ElementsAre("o-3"));
  EXPECT_THAT(ids(".id == \"o-1\", true"), ElementsAre("o-1")) << "the first result decides";
  EXPECT_THAT(ids(".error.code == \"permanent\" and .origin.partition == 3 and .replays == 0"),
              ElementsAre("o-1", "o-2", "o-3"));
  EXPECT_THAT(dlq({"groups", "--jq", ".value.to == \"x\"", "--json"}).out, HasSubstr("\"letters\":1"));
  EXPECT_THAT(dlq({"list", "--jq", ".value.to == \"y\""}).out, AllOf(HasSubstr("o-2"), Not(HasSubstr("o-1"))));
  const Ended wrong = dlq({"list", "--jq", ".value |"});
  EXPECT_EQ(wrong.code, 2);
  EXPECT_THAT(wrong.err, HasSubstr("--jq is no jq program: "));
  EXPECT_THAT(dlq({"list", "--jq", ".id | error"}).err, HasSubstr("--jq fails for some letters"));
}

TEST_F(ExportTest, AJqProgramNarrowsPlansAndArchives) {
  letter_of("o-1", R"({"total": 100})");
  letter_of("o-2", R"({"total": 101})");

  const Ended plan = dlq({"plan", "--consumer", "shipping", "--jq", ".value.total > 100", "--json"});
  EXPECT_EQ(plan.code, 0) << plan.err;
  EXPECT_THAT(plan.out, HasSubstr("\"letters\":1"));
  EXPECT_EQ(count("SELECT COUNT(*) FROM replay_job WHERE selection LIKE '%jq .value.total > 100%'"), 1u);
  EXPECT_EQ(dlq({"archive", "--consumer", "shipping", "--jq", ".value.total < 101", "--yes"}).code, 0);
  EXPECT_EQ(count("SELECT COUNT(*) FROM dead_letter WHERE state = 'archived' AND message_id = 'o-1'"), 1u);
  EXPECT_EQ(dlq({"run", "--plan", "1"}).code, 0);
  EXPECT_EQ(count("SELECT COUNT(*) FROM dead_letter WHERE state = 'replaying' AND message_id = 'o-2'"), 1u);
}

}  // namespace
}  // namespace oncemark::testing
