// What goes in comes out: parameters, results, and the traps of the connector's prepared statements.
#include <array>
#include <functional>
#include <limits>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <oncemark/mysql/errors.hpp>
#include <oncemark/mysql/pool.hpp>

#include "support/temp_schema.hpp"

namespace oncemark::mysql {
namespace {

using namespace std::chrono_literals;
using testing::TempSchema;

class StatementTest : public ::testing::Test {
 protected:
  template <typename... Args>
  std::uint64_t execute(std::string_view sql, const Args&... args) {
    const std::array<Param, sizeof...(Args)> params{Param(args)...};
    return connection_->execute(sql, params);
  }
  template <typename... Args>
  Rows query(std::string_view sql, const Args&... args) {
    const std::array<Param, sizeof...(Args)> params{Param(args)...};
    return connection_->query(sql, params);
  }
  void make_table(const std::string& columns) { connection_->control("CREATE TABLE t (" + columns + ")"); }

  TempSchema schema_;
  Pool pool_{schema_.options()};
  std::unique_ptr<Connection> connection_ = pool_.connect(60s);
};

TEST_F(StatementTest, KeepsTheLargestUnsignedNumber) {
  make_table("u BIGINT UNSIGNED");
  constexpr auto kMax = std::numeric_limits<std::uint64_t>::max();
  execute("INSERT INTO t VALUES (?)", kMax);

  EXPECT_EQ(query("SELECT u FROM t WHERE u = ?", kMax).at(0).get<std::uint64_t>(0), kMax);
}

TEST_F(StatementTest, BindsANegativeNumberAfterAnUnsignedOne) {
  EXPECT_EQ(query("SELECT ? AS x", std::numeric_limits<std::uint64_t>::max()).at(0).get<std::string>("x"),
            "18446744073709551615");
  EXPECT_EQ(query("SELECT ? AS x", -5).at(0).get<std::int64_t>("x"), -5);
  EXPECT_EQ(query("SELECT ? AS x", 7u).at(0).get<std::uint64_t>("x"), 7u);
}

TEST_F(StatementTest, KeepsNullApartFromEmpty) {
  make_table("id INT PRIMARY KEY, b VARBINARY(10)");
  execute("INSERT INTO t VALUES (?, ?)", 1, Bytes());
  execute("INSERT INTO t VALUES (?, ?)", 2, Bytes(""));
  const Rows rows = query("SELECT b, b IS NULL FROM t ORDER BY id");

  EXPECT_TRUE(rows.at(0).get<Bytes>(0).is_null());
  EXPECT_FALSE(rows.at(1).get<Bytes>(0).is_null());
  EXPECT_EQ(rows.at(1).get<int>(1), 0);
}

TEST_F(StatementTest, BindsAValueAfterNullAndNullAfterAValue) {
  make_table("id INT AUTO_INCREMENT PRIMARY KEY, x BIGINT, s LONGTEXT");
  const std::string insert = "INSERT INTO t (x, s) VALUES (?, ?)";
  execute(insert, nullptr, nullptr);
  execute(insert, -1, "a");
  execute(insert, nullptr, std::string(300'000, 'z'));
  execute(insert, 2, nullptr);
  const Rows rows = query("SELECT x, LENGTH(s) FROM t ORDER BY id");

  EXPECT_EQ(rows.at(0).get<std::optional<int>>(0), std::nullopt);
  EXPECT_EQ(rows.at(1).get<std::optional<int>>(0), -1);
  EXPECT_EQ(rows.at(2).get<std::optional<int>>(1), 300'000);
  EXPECT_EQ(rows.at(3).get<std::optional<int>>(0), 2);
  EXPECT_TRUE(rows.at(3).is_null(1));
}

std::string bytes_of_every_kind(std::size_t size) {
  std::string bytes(size, '\0');
  for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<char>(i * 31 % 256);
  return bytes;
}

TEST_F(StatementTest, KeepsEveryByteInShortAndLongValues) {
  make_table("id INT AUTO_INCREMENT PRIMARY KEY, b LONGBLOB");
  // 256 KiB is where the connector starts to send a value in pieces.
  for (const std::size_t size : {1u, 256u, 262'144u, 262'145u, 1'048'576u, 3u}) {
    const std::string bytes = bytes_of_every_kind(size);
    execute("INSERT INTO t (b) VALUES (?)", bytes);
    EXPECT_EQ(query("SELECT b FROM t WHERE id = LAST_INSERT_ID()").at(0).get<Bytes>(0).view(), bytes) << size;
  }
}

TEST_F(StatementTest, KeepsEveryByteOfAKey) {
  make_table("k VARBINARY(512) PRIMARY KEY");
  for (const std::string& key : {bytes_of_every_kind(512), std::string("A-1"), std::string("a-1"), std::string("a-1 "),
                                 std::string("a-1\0", 4)}) {
    execute("INSERT INTO t VALUES (?)", key);
    EXPECT_EQ(query("SELECT k FROM t WHERE k = ?", key).size(), 1u);
  }
  EXPECT_EQ(query("SELECT k FROM t").size(), 5u);
}

TEST_F(StatementTest, KeepsTextOfEveryLanguage) {
  make_table("s VARCHAR(20) CHARACTER SET utf8mb4");
  const std::string text = "żółw 🐢 'q' \\";
  execute("INSERT INTO t VALUES (?)", text);

  EXPECT_EQ(query("SELECT s, CHAR_LENGTH(s) FROM t").at(0).get<std::string>(0), text);
}

TEST_F(StatementTest, KeepsATimeWithAndWithoutAFraction) {
  make_table("id INT PRIMARY KEY, at DATETIME(6)");
  const Time whole = parse_datetime("2026-11-23 09:30:00");
  const Time exact = whole + 123us;
  execute("INSERT INTO t VALUES (1, ?), (2, ?)", whole, exact);
  const Rows rows = query("SELECT at FROM t ORDER BY id");

  EXPECT_EQ(rows.at(0).get<Time>(0), whole);
  EXPECT_EQ(rows.at(1).get<Time>(0), exact);
  EXPECT_EQ(query("SELECT id FROM t WHERE at = ?", exact).at(0).get<int>(0), 2);
}

TEST_F(StatementTest, ReadsDoublesExactly) {
  make_table("d DOUBLE, f FLOAT");
  execute("INSERT INTO t VALUES (?, ?)", 1e-9, 1.5);
  const Row row = query("SELECT d, f FROM t").at(0);

  EXPECT_EQ(row.get<double>(0), 1e-9);
  EXPECT_EQ(row.get<double>(1), 1.5);
  EXPECT_EQ(query("SELECT ? AS x", 0.1).at(0).get<double>(0), 0.1);
}

TEST_F(StatementTest, RefusesANumberThatIsNotFinite) {
  EXPECT_THROW(query("SELECT ?", std::numeric_limits<double>::infinity()), MisuseError);
  EXPECT_TRUE(connection_->is_usable());
}

TEST_F(StatementTest, ReadsSumsAndCountsAsIntegers) {
  make_table("x INT");
  execute("INSERT INTO t VALUES (?), (?)", 40, 2);
  const Row row = query("SELECT SUM(x) AS total, COUNT(*) AS n, AVG(x) AS mean FROM t").at(0);

  EXPECT_EQ(row.get<std::int64_t>("total"), 42);
  EXPECT_EQ(row.get<std::size_t>("n"), 2u);
  EXPECT_DOUBLE_EQ(row.get<double>("mean"), 21.0);
}

TEST_F(StatementTest, ReadsJsonThroughCast) {
  make_table("j JSON");
  execute("INSERT INTO t VALUES (?)", R"({"a": [1, 2]})");

  EXPECT_EQ(query("SELECT CAST(j AS CHAR) FROM t").at(0).get<std::string>(0), R"({"a": [1, 2]})");
}

TEST_F(StatementTest, ReadsBitsEnumsYearsAndBooleans) {
  make_table("b BIT(12), e ENUM('x','y'), y YEAR, f BOOLEAN, s TINYINT, u TINYINT UNSIGNED");
  execute("INSERT INTO t VALUES (b'101010101010', 'y', 2026, TRUE, -128, 255)");
  const Row row = query("SELECT * FROM t").at(0);

  EXPECT_EQ(row.get<int>("b"), 0b101010101010);
  EXPECT_EQ(row.get<std::string>("e"), "y");
  EXPECT_EQ(row.get<int>("y"), 2026);
  EXPECT_TRUE(row.get<bool>("f"));
  EXPECT_EQ(row.get<int>("s"), -128);
  EXPECT_EQ(row.get<int>("u"), 255);
}

TEST_F(StatementTest, GivesTheFirstGeneratedIdOfARowGroup) {
  make_table("id BIGINT AUTO_INCREMENT PRIMARY KEY, x INT");
  EXPECT_EQ(execute("INSERT INTO t (x) VALUES (?), (?), (?)", 1, 2, 3), 3u);

  EXPECT_EQ(query("SELECT LAST_INSERT_ID()").at(0).get<std::uint64_t>(0), 1u);
}

TEST_F(StatementTest, RunsTheSameStatementAgainWhileEarlierRowsAreKept) {
  make_table("id INT PRIMARY KEY");
  execute("INSERT INTO t VALUES (1), (2), (3)");
  const Rows first = query("SELECT id FROM t WHERE id > ? ORDER BY id", 0);
  const Rows second = query("SELECT id FROM t WHERE id > ? ORDER BY id", 2);

  EXPECT_EQ(first.size(), 3u);
  EXPECT_EQ(first.at(0).get<int>(0), 1);
  EXPECT_EQ(second.at(0).get<int>(0), 3);
}

TEST_F(StatementTest, WantsAsManyValuesAsPlaceholders) {
  EXPECT_THROW(query("SELECT ?, ?", 1), MisuseError);
  EXPECT_THROW(query("SELECT 1", 1), MisuseError);
  EXPECT_EQ(query("SELECT ?", 1).at(0).get<int>(0), 1);
}

TEST_F(StatementTest, DoesNotRunAnInsertAsAQuery) {
  make_table("id INT PRIMARY KEY");

  EXPECT_THROW(query("INSERT INTO t VALUES (1)"), MisuseError);
  EXPECT_EQ(query("SELECT COUNT(*) FROM t").at(0).get<int>(0), 0);
}

TEST_F(StatementTest, DoesNotRunASelectAsAnExecute) {
  EXPECT_THROW(execute("SELECT @ran := 1"), MisuseError);

  EXPECT_TRUE(query("SELECT @ran").at(0).is_null(0));
}

TEST_F(StatementTest, ReadsEveryKindOfResult) {
  make_table("id INT PRIMARY KEY");
  std::vector<const char*> statements{"SHOW TABLES", "SHOW VARIABLES LIKE 'version'", "EXPLAIN SELECT * FROM t",
                                      "SHOW CREATE TABLE t"};
  if (query("SELECT VERSION()").at(0).get<std::string>(0).find("MariaDB") != std::string::npos) {
    statements.insert(statements.end(), {"SHOW WARNINGS", "CHECK TABLE t", "VALUES (1)"});  // MySQL prepares none of them
  } else {
    statements.emplace_back("VALUES ROW(1)");
  }
  for (const char* sql : statements) {
    EXPECT_NO_THROW((void)query(sql)) << sql;
    EXPECT_EQ(query("SELECT 3").at(0).get<int>(0), 3) << sql;
  }
}

TEST_F(StatementTest, CallsProceduresWithAndWithoutRows) {
  make_table("id INT PRIMARY KEY");
  connection_->control("CREATE PROCEDURE fill(IN x INT) INSERT INTO t VALUES (x)");
  connection_->control("CREATE PROCEDURE twice() BEGIN SELECT 1 AS a; SELECT id FROM t; END");
  execute("CALL fill(?)", 8);

  EXPECT_EQ(query("CALL twice()").at(0).get<int>("a"), 1);
  EXPECT_EQ(query("SELECT id FROM t").at(0).get<int>(0), 8);
  execute("CALL twice()");
  EXPECT_TRUE(query("CALL fill(?)", 9).empty());
  EXPECT_EQ(query("SELECT COUNT(*) FROM t").at(0).get<int>(0), 2);
}

TEST_F(StatementTest, SeesAColumnThatChangedUnderAKnownStatement) {
  make_table("id INT PRIMARY KEY, x SMALLINT");
  execute("INSERT INTO t VALUES (1, 5)");
  EXPECT_EQ(query("SELECT x FROM t").at(0).get<int>("x"), 5);
  connection_->control("COMMIT");
  pool_.connect(60s)->control("ALTER TABLE t MODIFY x VARCHAR(20)");

  EXPECT_EQ(query("SELECT x FROM t").at(0).get<std::string>("x"), "5");
}

TEST_F(StatementTest, RecoversFromAColumnThatWasAddedUnderSelectStar) {
  make_table("id INT PRIMARY KEY");
  execute("INSERT INTO t VALUES (1)");
  EXPECT_EQ(query("SELECT * FROM t").at(0).size(), 1u);
  connection_->control("COMMIT");
  pool_.connect(60s)->control("ALTER TABLE t ADD x INT DEFAULT 4");

  try {
    EXPECT_EQ(query("SELECT * FROM t").at(0).size(), 2u);
  } catch (const MysqlError& error) {
    EXPECT_EQ(error.kind(), ErrorKind::transient);
    EXPECT_EQ(query("SELECT * FROM t").at(0).get<int>("x"), 4);
  }
}

TEST_F(StatementTest, RunsMoreDifferentStatementsThanAreKept) {
  for (int i = 0; i < 300; ++i) {
    EXPECT_EQ(query("SELECT ? + " + std::to_string(i), 1).at(0).get<int>(0), i + 1);
  }
}

TEST_F(StatementTest, KeepsNoStatementThatHoldsALargeResult) {
  const auto closed = [&] { return query("SHOW SESSION STATUS LIKE 'Com_stmt_close'").at(0).get<int>(1); };
  const int before = closed();
  (void)query("SELECT REPEAT('x', 1000)");
  EXPECT_EQ(closed(), before);
  (void)query("SELECT REPEAT('x', 300000)");
  EXPECT_EQ(closed(), before + 1);
}

TEST_F(StatementTest, NamesBothSizesWhenAPayloadExceedsThePacketAndKeepsTheConnection) {
  make_table("b LONGBLOB");
  const std::size_t limit = query("SELECT @@max_allowed_packet").at(0).get<std::size_t>(0);
  try {
    execute("INSERT INTO t VALUES (?)", std::string(limit + 1, 'x'));
    FAIL();
  } catch (const MysqlError& error) {
    EXPECT_EQ(error.code(), 1153);
    EXPECT_EQ(error.kind(), ErrorKind::permanent);
    EXPECT_THAT(error.what(), ::testing::HasSubstr(std::to_string(limit)));
  }
  EXPECT_TRUE(connection_->is_usable());
  EXPECT_EQ(query("SELECT COUNT(*) FROM t").at(0).get<int>(0), 0);
}

TEST_F(StatementTest, GoesOnAfterADuplicateKey) {
  make_table("id INT PRIMARY KEY");
  execute("INSERT INTO t VALUES (?)", 1);

  EXPECT_THROW(execute("INSERT INTO t VALUES (?)", 1), MysqlError);
  EXPECT_EQ(execute("INSERT INTO t VALUES (?)", 2), 1u);
}

TEST_F(StatementTest, NamesTheStatementButNoValue) {
  try {
    execute("INSERT INTO no_such_table VALUES (?)", "payload-of-a-message");
    FAIL();
  } catch (const MysqlError& error) {
    EXPECT_THAT(error.what(), ::testing::HasSubstr("INSERT INTO no_such_table"));
    EXPECT_THAT(error.what(), ::testing::HasSubstr("oncemark schema apply"));
    EXPECT_THAT(error.what(), ::testing::Not(::testing::HasSubstr("payload-of-a-message")));
  }
}

}  // namespace
}  // namespace oncemark::mysql
