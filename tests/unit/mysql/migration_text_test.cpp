#include "mysql/migration_text.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <oncemark/core/error.hpp>
#include <oncemark/version.hpp>

namespace oncemark::mysql {
namespace {

using ::testing::ElementsAre;

TEST(ParseMigration, ReadsVersionAndLowestLibrary) {
  const Migration migration = parse_migration("V012__more.sql", "-- lowest library: 203\nCREATE TABLE t (id INT);\n");

  EXPECT_EQ(migration.version, 12);
  EXPECT_EQ(migration.name, "V012__more.sql");
  EXPECT_EQ(migration.lowest_library, 203);
  EXPECT_EQ(migration.checksum.size(), 16u);
}

TEST(ParseMigration, ChecksumChangesWithTheText) {
  const std::string head = "-- lowest library: 1\n";

  EXPECT_EQ(parse_migration("V1__a.sql", head).checksum, parse_migration("V1__b.sql", head).checksum);
  EXPECT_NE(parse_migration("V1__a.sql", head).checksum, parse_migration("V1__a.sql", head + " ").checksum);
}

TEST(ParseMigration, RefusesAFileThatDoesNotSayWhatItIs) {
  const std::string head = "-- lowest library: 1\n";

  for (const char* name : {"1__a.sql", "V__a.sql", "Vx__a.sql", "V1_a.sql", "V0__a.sql"}) {
    EXPECT_THROW((void)parse_migration(name, head), MisuseError) << name;
  }
  for (const char* text : {"", "CREATE TABLE t (id INT);", "-- lowest library: x\n", "-- lowest library:\n"}) {
    EXPECT_THROW((void)parse_migration("V1__a.sql", text), MisuseError) << text;
  }
}

TEST(SplitStatements, EndsAStatementAtASemicolonThatEndsALine) {
  EXPECT_THAT(split_statements("CREATE TABLE a (\n  id INT\n);\n\nDROP TABLE b;\n"),
              ElementsAre("CREATE TABLE a (\n  id INT\n)", "DROP TABLE b"));
}

TEST(SplitStatements, LeavesCommentsOut) {
  EXPECT_THAT(split_statements("-- first;\nCREATE TABLE a (  -- the table; it is new;\n  id INT);  -- done\n-- end\n"),
              ElementsAre("CREATE TABLE a (\n  id INT)"));
}

TEST(SplitStatements, KeepsSemicolonsAndDashesInsideOfALine) {
  EXPECT_THAT(split_statements("INSERT INTO t VALUES ('a;b', '--c');\n"),
              ElementsAre("INSERT INTO t VALUES ('a;b', '--c')"));
}

TEST(SplitStatements, TakesALastStatementWithoutASemicolon) {
  EXPECT_THAT(split_statements("DROP TABLE a;\nDROP TABLE b"), ElementsAre("DROP TABLE a", "DROP TABLE b"));
  EXPECT_TRUE(split_statements("\n-- nothing\n").empty());
}

TEST(Migrations, AreEmbeddedUpToTheVersionThatTheLibraryExpects) {
  ASSERT_FALSE(migrations().empty());
  EXPECT_EQ(migrations().front().version, 1);
  EXPECT_EQ(migrations().back().version, kSchemaVersion);
  for (const Migration& migration : migrations()) {
    EXPECT_LE(migration.lowest_library, kVersionNumber) << migration.name;
    EXPECT_FALSE(split_statements(migration.sql).empty()) << migration.name;
  }
}

// Where MySQL has no IF NOT EXISTS, a statement is prepared by what the server says is there.
TEST(Migrations, CanBeRunAgainFromTheirFirstStatement) {
  for (const Migration& migration : migrations()) {
    const bool asks = migration.sql.find("information_schema.columns") != std::string::npos;
    for (const std::string& statement : split_statements(migration.sql)) {
      const bool is_part_of_asking =
          asks && (statement.starts_with("SET @oncemark_") || statement.find("oncemark_change") != std::string::npos);
      if (is_part_of_asking) continue;
      EXPECT_THAT(statement, ::testing::AnyOf(::testing::HasSubstr("IF NOT EXISTS"), ::testing::HasSubstr("IF EXISTS"),
                                              ::testing::HasSubstr("ON DUPLICATE KEY")));
    }
  }
}

TEST(PrintMigrations, HoldsTheTextAndTheRowThatRecordsIt) {
  const std::string text = print_migrations();

  for (const Migration& migration : migrations()) {
    EXPECT_THAT(text, ::testing::HasSubstr(migration.sql));
    EXPECT_THAT(text, ::testing::HasSubstr("'" + migration.checksum + "'"));
  }
}

}  // namespace
}  // namespace oncemark::mysql
