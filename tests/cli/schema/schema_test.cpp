#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <oncemark/mysql/epoch.hpp>

#include "support/process.hpp"
#include "support/tool_environment.hpp"

namespace oncemark::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(SchemaProgram, StatusFindsWhatIsMissingAndApplyMakesIt) {
  TempSchema schema(Tables::none);
  const auto command = [&](const std::string& verb) {
    return run({program(), "schema", verb}, environment_of(schema, {"migrate"}));
  };

  const Ended before = command("status");
  EXPECT_EQ(before.code, 4);
  EXPECT_THAT(before.out, HasSubstr("missing"));
  EXPECT_THAT(before.err, HasSubstr("oncemark schema apply"));

  EXPECT_EQ(command("apply").code, 0);
  const Ended after = command("status");
  EXPECT_EQ(after.code, 0);
  EXPECT_THAT(after.out, Not(HasSubstr("missing")));
}

TEST(SchemaProgram, ApplyingTwiceIsHarmless) {
  TempSchema schema(Tables::none);

  EXPECT_THAT(run({program(), "schema", "apply"}, environment_of(schema, {"migrate"})).out,
              HasSubstr("Applied version 1"));
  const Ended again = run({program(), "schema", "apply", "--json"}, environment_of(schema, {"migrate"}));

  EXPECT_EQ(again.code, 0);
  EXPECT_THAT(again.out, HasSubstr("\"applied\":[]"));
}

TEST(SchemaProgram, NewEpochDrawsAnotherOneForAllVersions) {
  TempSchema schema(Tables::ours);
  const mysql::Pool pool(schema.options());
  const std::uint64_t before = mysql::read_epoch(pool);

  const Ended ended = run({program(), "schema", "new-epoch", "--json"}, environment_of(schema, {"migrate"}));

  EXPECT_EQ(ended.code, 0);
  const std::uint64_t after = mysql::read_epoch(pool);
  EXPECT_NE(after, before);
  EXPECT_THAT(ended.out, HasSubstr("\"epoch\":" + std::to_string(after)));
  EXPECT_EQ(run({program(), "schema", "status"}, environment_of(schema, {"migrate"})).code, 0);
}

TEST(SchemaProgram, NewEpochNeedsTables) {
  TempSchema schema(Tables::none);

  const Ended ended = run({program(), "schema", "new-epoch"}, environment_of(schema, {"migrate"}));

  EXPECT_EQ(ended.code, 2);
  EXPECT_THAT(ended.err, HasSubstr("oncemark schema apply"));
}

TEST(SchemaProgram, AMissingDatabaseIsAnErrorOfTheSettings) {
  TempSchema schema(Tables::none);

  const Ended ended =
      run({program(), "schema", "apply"}, with(environment_of(schema, {}), {{"ONCEMARK_MYSQL__SCHEMA", "om_absent"}}));

  EXPECT_EQ(ended.code, 2);
  EXPECT_THAT(ended.err, HasSubstr("Unknown database 'om_absent'"));
}

}  // namespace
}  // namespace oncemark::testing
