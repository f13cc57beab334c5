// dlq-replay archive, restore, resolve and purge, run as processes.
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

class KeepTest : public ::testing::Test {
 protected:
  Ended dlq(std::vector<std::string> arguments, const std::map<std::string, std::string>& environment = {}) {
    arguments.insert(arguments.begin(), program("dlq-replay"));
    return run(arguments, with(environment_of(schema_), environment));
  }
  Ended keep(const std::string& verb, std::vector<std::string> flags,
             const std::map<std::string, std::string>& environment = {}) {
    flags.insert(flags.begin(), {verb, "--consumer", "shipping"});
    return dlq(flags, environment);
  }
  [[nodiscard]] std::uint64_t in_state(const std::string& state) {
    return pool_.transact([&](mysql::Transaction& tx) {
      return tx.query("SELECT COUNT(*) FROM dead_letter WHERE state = ?", state).at(0).get<std::uint64_t>(0);
    });
  }

  TempSchema schema_{Tables::ours};
  mysql::Pool pool_{schema_.options()};
};

TEST_F(KeepTest, PutsLettersAsideAndTakesThemBack) {
  bury_orders(pool_, 3);

  const Ended archived = keep("archive", {"--key", "o-[!1]", "--yes"});
  EXPECT_EQ(archived.code, 0) << "nothing matches: globs have no classes";
  EXPECT_EQ(keep("archive", {"--limit", "2", "--yes", "--reason", "known"}).out, "Done: 2 of 2 letters.\n");
  EXPECT_EQ(in_state("archived"), 2u);
  EXPECT_THAT(dlq({"run", "--consumer", "shipping", "--dry-run"}).out, HasSubstr("replay 1 letter"));

  const Ended restored = keep("restore", {"--json", "--confirm", "shipping"});
  EXPECT_EQ(restored.code, 0);
  EXPECT_EQ(json::parse(restored.out),
            json::parse(R"({"event": "summary", "exit_code": 0, "selected": 2, "done": 2})"));
  EXPECT_EQ(in_state("dead"), 3u);
}

TEST_F(KeepTest, AsksBeforeItActs) {
  bury_orders(pool_, 2);

  const Ended refused = keep("archive", {});
  EXPECT_EQ(refused.code, 6);
  EXPECT_THAT(refused.err, AllOf(HasSubstr("nothing was done"), HasSubstr("--confirm=shipping")));
  EXPECT_EQ(keep("resolve", {"--id", "1"}).code, 6);
  EXPECT_EQ(keep("archive", {"--confirm", "billing"}).code, 6);
  EXPECT_EQ(keep("archive", {"--dry-run"}).out, "Would archive 2 letters of consumer shipping.\n");
  EXPECT_EQ(dlq({"archive", "--yes"}).code, 2) << "of which consumer?";
  EXPECT_EQ(keep("restore", {"--fail-if-empty", "--yes"}).code, 5);
  EXPECT_EQ(in_state("dead"), 2u);
}

TEST_F(KeepTest, PurgesOnlyWhatIsDoneWith) {
  bury_orders(pool_, 3);
  EXPECT_EQ(keep("resolve", {"--limit", "2", "--yes"}).code, 0);

  EXPECT_EQ(keep("purge", {"--confirm", "shipping"}).code, 2) << "--state is required";
  const Ended dead = keep("purge", {"--state", "dead", "--confirm", "shipping"});
  EXPECT_EQ(dead.code, 2);
  EXPECT_THAT(dead.err, HasSubstr("their records would be lost"));
  EXPECT_EQ(keep("purge", {"--state", "resolved", "--limit", "1", "--yes"}).code, 6) << "--yes is not enough";
  EXPECT_EQ(keep("purge", {"--state", "resolved", "--until", "1h", "--confirm", "shipping"}).code, 0);
  EXPECT_EQ(in_state("resolved"), 2u) << "none of them is so old";

  EXPECT_EQ(keep("purge", {"--state", "resolved", "--confirm", "shipping"}).out, "Done: 2 of 2 letters.\n");
  EXPECT_EQ(in_state("resolved"), 0u);
  EXPECT_EQ(in_state("dead"), 1u);
}

TEST_F(KeepTest, KilledItDoesTheRestTheNextTime) {
  bury_orders(pool_, 3);
  const std::map<std::string, std::string> fault{{"ONCEMARK_FAULT", "letters.before_commit:kill"}};

  EXPECT_EQ(keep("archive", {"--confirm", "shipping"}, fault).code, 137);
  EXPECT_EQ(in_state("dead"), 3u);
  EXPECT_EQ(keep("archive", {"--confirm", "shipping"}).code, 0);
  EXPECT_EQ(in_state("archived"), 3u);
  EXPECT_EQ(keep("purge", {"--state", "archived", "--confirm", "shipping"}, fault).code, 137);
  EXPECT_EQ(in_state("archived"), 3u);
}

}  // namespace
}  // namespace oncemark::testing
