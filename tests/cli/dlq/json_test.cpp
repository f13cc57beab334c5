// What dlq-replay and reconcile write with --json against docs/json.schema.json, and how they end.
#include <fstream>
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "support/json_schema.hpp"
#include "support/letters.hpp"
#include "support/process.hpp"
#include "support/tool_environment.hpp"
#include "support/two_sides.hpp"

namespace oncemark::testing {
namespace {

using nlohmann::json;
using ::testing::IsEmpty;
using ::testing::Not;

class JsonTest : public ::testing::Test {
 protected:
  /// Runs "PROGRAM VERB FLAGS --json", and holds each line against what the schema says of "PROGRAM VERB".
  std::vector<json> fits(int code, std::vector<std::string> words) {
    const std::string command = words[0] + " " + words[1];
    words[0] = program(words[0]);
    words.emplace_back("--json");
    const Ended ended = run(words, environment_of(schema_));
    EXPECT_EQ(ended.code, code) << command << ": " << ended.out << ended.err;
    std::vector<json> lines;
    std::istringstream out(ended.out);
    for (std::string line; std::getline(out, line);) {
      lines.push_back(json::parse(line));
      EXPECT_THAT(known_.complaint(command, lines.back()), IsEmpty());
    }
    EXPECT_THAT(lines, Not(IsEmpty())) << command;
    return lines;
  }
  std::string file(const std::string& name, const std::string& text = {}) {
    std::string path = ::testing::TempDir() + "json_test_" + std::to_string(::getpid()) + name;
    if (!text.empty()) std::ofstream(path, std::ios::binary) << text;
    return path;
  }

  const JsonSchema known_{json::parse(std::ifstream(ONCEMARK_JSON_SCHEMA))};
  TempSchema schema_{Tables::ours};
  mysql::Pool pool_{schema_.options()};
};

TEST_F(JsonTest, EveryLineOfDlqReplayIsAsTheSchemaSays) {
  const auto letters = bury_orders(pool_, 8);
  Message hostile = order_message("o-9\xff");
  hostile.payload = nullptr;
  bury(pool_, hostile, "shipping", "\x1b[2J\xff");
  const std::string dlq = "dlq-replay";

  fits(0, {dlq, "topics"});
  fits(0, {dlq, "groups"});
  fits(0, {dlq, "list"});
  fits(0, {dlq, "show", std::to_string(letters[0])});
  fits(0, {dlq, "plan", "--consumer", "shipping", "--key", "o-1"});
  fits(0, {dlq, "run", "--consumer", "shipping", "--key", "o-1", "--dry-run"});
  fits(6, {dlq, "run", "--consumer", "shipping", "--key", "o-1"});
  fits(0, {dlq, "run", "--plan", "1"});
  fits(0, {dlq, "jobs"});
  fits(0, {dlq, "status", "1"});
  fits(0, {dlq, "watch", "1"});
  fits(0, {dlq, "plan", "--consumer", "shipping", "--key", "o-2"});
  fits(0, {dlq, "cancel", "2"});
  fits(2, {dlq, "run", "--plan", "2"});
  fits(0, {dlq, "resume", "1"});
  for (const std::string verb : {"archive", "restore", "resolve"}) {
    fits(0, {dlq, verb, "--consumer", "shipping", "--key", "o-3", "--dry-run"});
    fits(0, {dlq, verb, "--consumer", "shipping", "--key", "o-3", "--yes"});
  }
  fits(0, {dlq, "purge", "--consumer", "shipping", "--state", "resolved", "--confirm=shipping"});
  fits(0, {dlq, "edit", std::to_string(letters[3]), "--header", "a=b", "--yes"});
  fits(0, {dlq, "show", std::to_string(letters[3])});

  const auto exported = fits(0, {dlq, "export", "--state", "any"});
  std::string changed;
  for (json line : exported) {
    line["headers"].push_back({"fixed", {{"enc", "utf8"}, {"data", "yes"}}});
    changed += line.dump() + "\n";
  }
  fits(3, {dlq, "import", file("letters", changed), "--dry-run"});
  fits(3, {dlq, "import", file("letters"), "--yes"});
}

TEST_F(JsonTest, EveryLineOfReconcileIsAsTheSchemaSays) {
  insert_both(pool_, {.id = "ok"});
  insert_sent(pool_, {.id = "lost"});
  insert_sent(pool_, {.id = "odd\xff"});
  insert_sent(pool_, {.id = "stuck", .status = "dead"});
  insert_settled(pool_, {.id = "unexpected"});
  const std::string name = "reconcile";

  fits(4, {name, "run"});
  fits(0, {name, "run", "--repair", "--waive", "unexpected", "--reason", "test", "--confirm=" + schema_.name()});
  fits(0, {name, "waived"});
  fits(0, {name, "take-back", "unexpected", "--consumer", "shipping"});
  fits(5, {name, "take-back", "nothing", "--consumer", "shipping"});
  fits(0, {name, "export", "--output", file("sent")});
  fits(4, {name, "compare", file("sent"), "--consumer", "shipping", "--output", file("answer")});
}

}  // namespace
}  // namespace oncemark::testing
