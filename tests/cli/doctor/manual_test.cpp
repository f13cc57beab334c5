// --help, man pages and completion: the examples are run, and nothing that a program knows is left out.
#include <filesystem>
#include <fstream>
#include <regex>
#include <set>
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/letters.hpp"
#include "support/process.hpp"
#include "support/tool_environment.hpp"
#include "support/two_sides.hpp"

namespace oncemark::testing {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::Not;

const std::vector<std::string> kPrograms{"oncemark", "dlq-replay", "outbox-relay", "reconcile"};

std::string read(const fs::path& file) {
  std::ifstream in(file);
  return {std::istreambuf_iterator<char>(in), {}};
}

/// The verbs that a help text lists: two blanks, the name, a description.
std::vector<std::string> verbs_in(const std::string& help) {
  std::vector<std::string> verbs;
  std::istringstream lines(help.substr(std::min(help.find("Subcommands:"), help.size())));
  static const std::regex kVerb("  ([a-z-]+) +\\S.*");
  std::smatch match;
  for (std::string line; std::getline(lines, line) && !line.empty();) {
    if (std::regex_match(line, match, kVerb)) verbs.push_back(match[1]);
  }
  return verbs;
}

class ManualTest : public ::testing::Test {
 protected:
  ManualTest() { fs::create_directories(folder_); }
  ~ManualTest() override { fs::remove_all(folder_); }

  std::string help(std::vector<std::string> words) {
    words[0] = program(words[0]);
    words.emplace_back("--help");
    const Ended ended = run(words);
    EXPECT_EQ(ended.code, 0) << ended.err;
    return ended.out;
  }
  /// The help texts of a program and of all its verbs, whatever is in them.
  void collect(const std::vector<std::string>& words, std::vector<std::string>& texts) {
    texts.push_back(help(words));
    for (const std::string& verb : verbs_in(texts.back())) {
      auto inner = words;
      inner.push_back(verb);
      collect(inner, texts);
    }
  }
  Ended shell(const std::string& line) {
    const std::string path = fs::path(program()).parent_path().string();
    Process process({.arguments = {"/bin/sh", "-c", line},
                     .environment = with(environment_of(schema_),
                                         {{"PATH", path + ":" + std::getenv("PATH")}, {"EDITOR", "sed -i s/a/b/"}}),
                     .folder = folder_});
    return process.wait();
  }

  TempSchema schema_{Tables::ours};
  mysql::Pool pool_{schema_.options()};
  const fs::path folder_ = fs::temp_directory_path() / schema_.name();
};

TEST_F(ManualTest, EveryExampleOfAHelpTextIsUnderstood) {
  bury_orders(pool_, 50);  // so that the letters that examples name are there
  pool_.transact([](mysql::Transaction& tx) {
    tx.execute("UPDATE dead_letter SET fingerprint = CONCAT('9f2c', SUBSTR(fingerprint, 5))");
  });
  insert_both(pool_, {.id = "order-7"});
  std::ofstream(folder_ / "fix.json") << R"({"currency": "EUR"})";
  std::ofstream(folder_ / "fixed.bin") << "fixed";
  std::ofstream(folder_ / "keys.txt") << "o-1\no-2\n";
  std::vector<std::string> texts;
  for (const std::string& name : kPrograms) collect({name}, texts);
  std::set<std::string> examples;  // no two of the same
  static const std::regex kExample(" +((oncemark|dlq-replay|outbox-relay|reconcile) .*|jq .*\\| *dlq-replay .*)");
  std::smatch match;
  for (const std::string& text : texts) {
    std::istringstream lines(text.substr(std::min(text.find("Examples:"), text.size())));
    for (std::string line; std::getline(lines, line);) {
      if (std::regex_match(line, match, kExample)) examples.insert(match[1]);
    }
  }
  ASSERT_GT(examples.size(), 60u);
  EXPECT_EQ(shell("dlq-replay export > letters.jsonl && cp letters.jsonl fixed.jsonl").code, 0);

  for (const std::string& example : examples) {
    const bool is_left_out = example.find("/etc/") != std::string::npos ||
                             example.find("man ./") != std::string::npos ||
                             (example.starts_with("jq ") && !fs::exists("/usr/bin/jq"));
    if (is_left_out) continue;
    std::string line = example.substr(0, example.find(" | jq"));
    for (std::size_t at = 0; (at = line.find('\'', at)) != std::string::npos; at += 4) line.replace(at, 1, "'\\''");
    // What goes on until it is stopped is stopped.
    const Ended ended = shell("timeout -s INT 0.5 sh -c '" + line + "' </dev/null");
    EXPECT_NE(ended.code, 1) << example << "\n" << ended.err;
    EXPECT_NE(ended.code, 127) << example << "\n" << ended.err;
    EXPECT_THAT(ended.err, Not(ContainsRegex("try: +[a-z -]+ --help"))) << example;
  }
}

TEST_F(ManualTest, PagesAndCompletionHoldAllThatTheProgramsKnow) {
  EXPECT_EQ(shell("oncemark manual .").code, 0);

  for (const std::string& name : kPrograms) {
    const std::string page = read(folder_ / (name + ".1"));
    EXPECT_THAT(page, AllOf(HasSubstr(".SH NAME"), HasSubstr(".SH EXAMPLES"), Not(HasSubstr("\n.\n"))));
    for (const std::string& verb : verbs_in(help({name}))) {
      const std::string escaped = std::regex_replace(verb, std::regex("-"), "\\-");
      EXPECT_THAT(page, HasSubstr(".SS " + escaped + "\n")) << name;
      EXPECT_THAT(read(folder_ / "oncemark.bash"), HasSubstr("'" + name + " " + verb + "')"));
      EXPECT_THAT(read(folder_ / "_oncemark"), HasSubstr("'" + name + " " + verb + "')"));
    }
  }
  EXPECT_THAT(read(folder_ / "dlq-replay.1"), AllOf(HasSubstr("\\fB\\-\\-fingerprint\\fR \\fIHEX\\fR"),
                                                    HasSubstr("dlq\\-replay export"), HasSubstr("130 or 143")));
}

TEST_F(ManualTest, BashCompletesVerbsFlagsAndValues) {
  EXPECT_EQ(shell("oncemark manual .").code, 0);
  const auto completed = [&](const std::string& words, int count) {
    return shell("bash -c '. ./oncemark.bash; COMP_WORDS=(" + words + "); COMP_CWORD=" + std::to_string(count) +
                 "; _oncemark; echo ${COMPREPLY[*]}'")
        .out;
  };

  EXPECT_EQ(completed("dlq-replay ex", 1), "export\n");
  EXPECT_EQ(completed("/usr/bin/oncemark dlq ar", 2), "archive\n");
  EXPECT_EQ(completed("dlq-replay --config x.toml list --finger", 4), "--fingerprint\n");
  EXPECT_EQ(completed("dlq-replay list --state arch", 3), "archived\n");
  EXPECT_EQ(completed("dlq-replay import oncemark.b", 2), "oncemark.bash\n");
  EXPECT_EQ(completed("reconcile --j", 1), "--json\n");
}

}  // namespace
}  // namespace oncemark::testing
