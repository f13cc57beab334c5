#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/process.hpp"

namespace oncemark::testing {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::StartsWith;

// What can be said about the programs without any server.

/// Settings that reach nothing, so that a command gets as far as connecting.
const std::map<std::string, std::string> kNowhere{{"ONCEMARK_MYSQL__URL", "tcp://127.0.0.1:1"},
                                                  {"ONCEMARK_MYSQL__USER", "nobody"},
                                                  {"ONCEMARK_MYSQL__SCHEMA", "nothing"}};

TEST(CommandLine, EachVerbHasHelpWithExamples) {
  for (const std::string verb : {"topics", "list", "show", "run", "jobs"}) {
    const Ended ended = run({program("dlq-replay"), verb, "--help"});
    EXPECT_EQ(ended.code, 0) << verb;
    EXPECT_THAT(ended.out, AllOf(HasSubstr("Usage: dlq-replay " + verb), HasSubstr("Examples:"))) << verb;
    EXPECT_THAT(ended.err, IsEmpty());
  }
  EXPECT_THAT(run({program(), "--help"}).out, AllOf(HasSubstr("Examples:"), HasSubstr("Exit codes:")));
  EXPECT_THAT(run({program("outbox-relay"), "run", "--help"}).out, HasSubstr("Examples:"));
}

TEST(CommandLine, TellsItsVersion) {
  const Ended ended = run({program(), "--version"});

  EXPECT_EQ(ended.code, 0);
  EXPECT_THAT(ended.out, StartsWith("oncemark 0."));
}

TEST(CommandLine, TheOtherNamesAreItsFamilies) {
  EXPECT_EQ(run({program("dlq-replay"), "run"}).err, run({program(), "dlq", "run"}).err);
  EXPECT_THAT(run({program("outbox-relay"), "--help"}).out, HasSubstr("Usage: outbox-relay"));
}

TEST(CommandLine, SuggestsTheVerbAndTheFlagThatWereMeant) {
  const Ended verb = run({program("dlq-replay"), "lsit"});
  EXPECT_EQ(verb.code, 2);
  EXPECT_THAT(verb.err,
              AllOf(HasSubstr("error: unknown verb lsit. Did you mean list?"), HasSubstr("try:    dlq-replay --help")));

  const Ended flag = run({program(), "dlq", "list", "--consumr=x"});
  EXPECT_EQ(flag.code, 2);
  EXPECT_THAT(flag.err, HasSubstr("unknown flag --consumr. Did you mean --consumer?"));

  EXPECT_THAT(run({program("dlq-replay"), "list", "--jsno"}).err, HasSubstr("Did you mean --json?"));
  EXPECT_THAT(run({program(), "xyzzy"}).err,
              AllOf(HasSubstr(", config, "), HasSubstr(", dlq, "), HasSubstr(", schema, ")));
}

TEST(CommandLine, WrongUseEndsWithTwoAndNeverWithTheParsersOwnCodes) {
  const std::vector<std::vector<std::string>> wrong{
      {},
      {"list", "--id", "x"},
      {"list", "--id"},
      {"list", "--limit", "0"},
      {"show"},
      {"show", "1", "2"},
      {"run"},
      {"run", "--consumer", "a", "--rate", "fast"},
      {"jobs", "--limit", "0"},
      {"list", "--state", "dad"},
      {"run", "--resume", "1", "--id", "2"},
      {"run", "--consumer", "a", "--limit", "0"},
  };
  for (std::vector<std::string> arguments : wrong) {
    arguments.insert(arguments.begin(), program("dlq-replay"));
    const Ended ended = run(arguments, kNowhere);
    EXPECT_EQ(ended.code, 2) << ended.err;
    EXPECT_THAT(ended.err, StartsWith("error: "));
    EXPECT_THAT(ended.out, IsEmpty());
  }
}

TEST(CommandLine, TakesGlobalFlagsBeforeAndAfterTheVerb) {
  const Ended before = run({program(), "--config", "/absent.toml", "--json", "dlq", "topics"});
  const Ended after = run({program(), "dlq", "topics", "--json", "--config", "/absent.toml"});

  EXPECT_THAT(before.err, HasSubstr("/absent.toml: No such file"));
  EXPECT_EQ(after.err, before.err);
  EXPECT_EQ(after.code, 2);
}

TEST(CommandLine, AnUnknownKeyIsNamedWithItsPlaceAndTheOneThatWasMeant) {
  std::string file = (fs::temp_directory_path() / "oncemark.XXXXXX").string();
  ::close(::mkstemp(file.data()));
  std::ofstream(file) << "[mysql]\nuser = \"a\"\n\n[kafka]\nbrokrs = \"b\"\n";

  const Ended ended = run({program("dlq-replay"), "topics", "-c", file});
  fs::remove(file);

  EXPECT_EQ(ended.code, 2);
  EXPECT_EQ(ended.err, "error: unknown key \"brokrs\" at " + file + " line 5, column 1. Did you mean \"brokers\"?\n");
}

TEST(CommandLine, AMissingSettingSaysWhatItIsCalled) {
  const Ended ended = run({program("dlq-replay"), "topics"}, {{"ONCEMARK_MYSQL__USER", "a"}});

  EXPECT_EQ(ended.code, 2);
  EXPECT_THAT(ended.err, HasSubstr("config: mysql.schema, default"));
}

TEST(CommandLine, ADatabaseThatCannotBeReachedEndsWithSevenAndNamesTheAddress) {
  for (const std::string verb : {"topics", "list", "jobs"}) {
    const Ended ended = run({program("dlq-replay"), verb}, kNowhere);
    EXPECT_EQ(ended.code, 7);
    EXPECT_THAT(ended.err, AllOf(HasSubstr("tcp://127.0.0.1:1"),
                                 HasSubstr("config: mysql.url, environment variable ONCEMARK_MYSQL__URL")));
  }
  EXPECT_EQ(run({program(), "schema", "status"}, kNowhere).code, 7);
}

TEST(CommandLine, ARunsJsonEndsWithASummaryAlsoWhenItFails) {
  const Ended ended = run({program("dlq-replay"), "run", "--consumer", "a", "--json"}, kNowhere);

  EXPECT_EQ(ended.code, 7);
  EXPECT_THAT(ended.out, AllOf(StartsWith("{\"event\":\"summary\",\"exit_code\":7"), HasSubstr("\"error\":")));
}

TEST(CommandLine, PrintsTheSchemaWithoutAnyDatabaseOrConfiguration) {
  const Ended ended = run({program(), "schema", "print"}, {{"ONCEMARK_CONFIG", "/absent.toml"}});

  EXPECT_EQ(ended.code, 0);
  EXPECT_THAT(ended.out, HasSubstr("CREATE TABLE IF NOT EXISTS outbox_message"));
}

TEST(CommandLine, PrintsTheRightsItNeedsWithNamesQuoted) {
  const Ended ended =
      run({program(), "schema", "grants"}, {{"ONCEMARK_MYSQL__SCHEMA", "a`b"}, {"ONCEMARK_MYSQL__USER", "o'x"}});

  EXPECT_EQ(ended.code, 0);
  EXPECT_THAT(ended.out, HasSubstr("GRANT SELECT, INSERT ON `a``b`.`outbox_message` TO 'o''x'@'%';"));
  EXPECT_THAT(ended.out, HasSubstr("GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO 'o''x'@'%';"));
}

TEST(CommandLine, WritesNoRawBytesToATerminal) {
  Process process(
      {.arguments = {program("dlq-replay"), "show", "1", "--raw"}, .environment = kNowhere, .has_terminal = true});

  const Ended ended = process.wait();

  EXPECT_EQ(ended.code, 6);
  EXPECT_THAT(ended.out, HasSubstr("redirect it"));
}

TEST(CommandLine, ARelayWithWrongSettingsDoesNotStart) {
  EXPECT_EQ(run({program("outbox-relay"), "run"}, {{"ONCEMARK_MYSQL__USER", "a"}}).code, 2);
  EXPECT_EQ(run({program("outbox-relay"), "start"}).code, 2);
}

}  // namespace
}  // namespace oncemark::testing
