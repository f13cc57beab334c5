// What comes out of the binlog, beside what the server itself says about the same rows.
#include <array>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "binlog/decoder.hpp"
#include "binlog/group_reader.hpp"
#include "binlog/json_binary.hpp"
#include "binlog/server.hpp"
#include "binlog/stream.hpp"
#include "support/temp_schema.hpp"

namespace oncemark::binlog {
namespace {

using Line = std::vector<std::string>;

struct Change {
  Operation operation;
  Line before;
  Line after;
};

/// A column by its definition; how its value in the binlog compares to text; and values to put in.
struct Sample {
  std::string definition;
  std::string as_text;  // an expression with % for the column
  std::vector<std::string> values;
  bool is_unsigned = false;
};

const std::vector<Sample> kSamples{
    {"TINYINT", "%", {"-128", "127", "NULL"}},
    {"TINYINT UNSIGNED", "%", {"0", "255", "1"}, true},
    {"SMALLINT", "%", {"-32768", "32767", "NULL"}},
    {"MEDIUMINT", "%", {"-8388608", "8388607", "0"}},
    {"INT UNSIGNED", "%", {"0", "4294967295", "NULL"}, true},
    {"BIGINT", "%", {"-9223372036854775808", "9223372036854775807", "-1"}},
    {"BIGINT UNSIGNED", "%", {"0", "18446744073709551615", "NULL"}, true},
    {"DECIMAL(20,6)", "%", {"-12345678901234.000001", "0", "99999999999999.999999"}},
    {"DECIMAL(3,0)", "%", {"-999", "7", "NULL"}},
    {"DECIMAL(12,12)", "%", {"0.000000000001", "-0.5", "0"}},
    {"FLOAT", "CAST(CAST(% AS DOUBLE) AS CHAR)", {"1.5", "-0.25", "NULL"}},
    {"DOUBLE", "%", {"0.5", "-2.25", "1024"}},
    {"CHAR(10)", "%", {"'abc'", "''", "NULL"}},
    {"CHAR(255) CHARACTER SET utf8mb4", "%", {"'\xc3\xa4\xe2\x82\xac'", "REPEAT('z', 255)", "NULL"}},
    {"BINARY(4)", "HEX(TRIM(TRAILING X'00' FROM %))", {"X'0001FF'", "X'61626364'", "NULL"}},
    {"VARCHAR(20)", "%", {"'abc'", "''", "NULL"}},
    {"VARCHAR(2000)", "%", {"REPEAT('v', 2000)", "'x'", "NULL"}},
    {"VARBINARY(20)", "HEX(%)", {"X'00FF'", "X''", "NULL"}},
    {"TINYTEXT", "%", {"'t'", "''", "NULL"}},
    {"MEDIUMBLOB", "HEX(%)", {"X'000102'", "REPEAT('b', 70000)", "NULL"}},
    {"LONGBLOB", "HEX(%)", {"X'FF'", "X''", "NULL"}},
    {"DATE", "%", {"'2024-02-29'", "'9999-12-31'", "NULL"}},
    {"TIME", "%", {"'-838:59:59'", "'12:34:56'", "'00:00:00'"}},
    {"TIME(3)", "%", {"'-00:00:01.500'", "'838:59:58.999'", "NULL"}},
    {"TIME(6)", "%", {"'-00:00:00.000001'", "'01:02:03.456789'", "NULL"}},
    {"DATETIME", "%", {"'2024-02-29 01:02:03'", "'1000-01-01 00:00:00'", "NULL"}},
    {"DATETIME(1)", "%", {"'2024-02-29 01:02:03.4'", "'9999-12-31 23:59:59.9'", "NULL"}},
    {"DATETIME(6)", "%", {"'2024-02-29 01:02:03.000456'", "'2024-02-29 01:02:03.999999'", "NULL"}},
    {"TIMESTAMP NULL", "%", {"'2024-02-29 01:02:03'", "'1970-01-01 00:00:01'", "NULL"}},
    {"TIMESTAMP(4) NULL", "%", {"'2024-02-29 01:02:03.0456'", "'2038-01-19 03:14:07.9999'", "NULL"}},
    {"YEAR", "% + 0", {"1901", "2155", "0000"}},
    {"ENUM('a','b','c')", "% + 0", {"'a'", "'c'", "NULL"}},
    {"SET('x','y','z')", "% + 0", {"'x,z'", "''", "NULL"}},
    {"BIT(1)", "% + 0", {"b'1'", "b'0'", "NULL"}},
    {"BIT(33)", "% + 0", {"b'100000000000000000000000000000001'", "b'0'", "NULL"}},
};

std::string word(const Field& field, const ColumnType& column, bool is_unsigned, bool is_hex) {
  switch (field.state) {
    case Field::State::absent:
      return "absent";
    case Field::State::null:
      return "NULL";
    case Field::State::number:
      return is_integer(column.kind) && !is_unsigned ? std::to_string(field.as_signed()) : std::to_string(field.number);
    case Field::State::real:
      return json_number(field.real);
    case Field::State::text:
      return field.text;
    default:
      break;
  }
  if (!is_hex) return std::string(field.bytes);
  constexpr std::string_view kHex = "0123456789ABCDEF";
  std::string text;
  for (const char c : field.bytes) {
    text += kHex[static_cast<unsigned char>(c) >> 4];
    text += kHex[static_cast<unsigned char>(c) & 0xf];
  }
  return text;
}

class DecoderOnServer : public ::testing::Test {
 protected:
  void SetUp() override {
    session_ = pool_.connect(std::chrono::seconds(60));
    session_->control("SET autocommit = 1");
    facts_ = ask_server(*session_);
  }

  void run(const std::string& sql) { session_->control(sql); }

  /// The changes of table `sample` that these statements make, out of the binlog.
  std::vector<Change> changes_by(const std::vector<std::string>& statements) {
    const Place from = ask_end(*session_, facts_);
    for (const std::string& sql : statements) run(sql);
    const Place to = ask_end(*session_, facts_);
    Place start = from;
    if (!is_by_gtid_) start.gtids.clear();
    std::vector<Change> changes;
    Stream stream(schema_.options(), facts_, start, {});
    GroupReader groups({.rows = [&](const RowsEvent& event) { take(event, changes); },
                        .statement = [](const Query&) {},
                        .end = [](const GroupEnd&) {}});
    Decoder decoder(
        [&](std::string_view schema, std::string_view table) { return schema == schema_.name() && table == "sample"; });
    while (!has_reached(groups.file(), groups.position(), to)) {
      decoder.decode(stream.read(), [&](const EventHeader& header, const Event& event) { groups.take(header, event); });
    }
    return changes;
  }

  void take(const RowsEvent& event, std::vector<Change>& changes) {
    const std::vector<bool> all;
    RowReader rows(event, all);
    while (rows.next()) {
      Change change{.operation = event.operation, .before = {}, .after = {}};
      if (event.operation != Operation::insert) change.before = line(rows.before(), *event.map);
      if (event.operation != Operation::remove) change.after = line(rows.after(), *event.map);
      changes.push_back(std::move(change));
    }
  }

  Line line(const std::vector<Field>& fields, const TableMap& map) const {
    Line words;
    for (std::size_t i = 0; i < fields.size(); ++i) {
      const Sample* sample = is_sampled_ && i > 0 ? &kSamples[i - 1] : nullptr;
      words.push_back(word(fields[i], map.columns[i], sample != nullptr && sample->is_unsigned,
                           sample != nullptr && sample->as_text.starts_with("HEX")));
    }
    return words;
  }

  /// The row as the server prints it.
  Line selected(int id) {
    std::string sql = "SELECT id";
    for (std::size_t i = 0; i < kSamples.size(); ++i) {
      std::string expression = kSamples[i].as_text;
      expression.replace(expression.find('%'), 1, "c" + std::to_string(i));
      sql += ", CAST(" + expression + " AS CHAR)";
    }
    const mysql::Rows rows = session_->query(sql + " FROM sample WHERE id = " + std::to_string(id), {});
    Line words;
    for (std::size_t i = 0; i < rows.at(0).size(); ++i) {
      words.push_back(rows[0].is_null(i) ? "NULL" : rows[0].get<std::string>(i));
    }
    return words;
  }

  static std::string values(std::size_t which) {
    std::string sql;
    for (const Sample& sample : kSamples) sql += ", " + sample.values[which];
    return sql;
  }

  testing::TempSchema schema_;
  mysql::Pool pool_{schema_.options()};
  std::unique_ptr<mysql::Connection> session_;
  ServerFacts facts_;
  bool is_sampled_ = false;
  bool is_by_gtid_ = false;
};

TEST_F(DecoderOnServer, ReadsEveryTypeAsTheServerPrintsIt) {
  std::string table = "CREATE TABLE sample (id INT PRIMARY KEY";
  for (std::size_t i = 0; i < kSamples.size(); ++i) table += ", c" + std::to_string(i) + " " + kSamples[i].definition;
  run(table + ")");
  run("SET sql_mode = ''");
  is_sampled_ = true;
  std::vector<std::string> statements;
  for (std::size_t i = 0; i < 3; ++i) {
    statements.push_back("INSERT INTO sample VALUES (" + std::to_string(i) + values(i) + ")");
  }

  const std::vector<Change> changes = changes_by(statements);

  ASSERT_EQ(changes.size(), 3u);
  for (int id = 0; id < 3; ++id) {
    const Line found = changes[static_cast<std::size_t>(id)].after;
    const Line expected = selected(id);
    ASSERT_EQ(found.size(), expected.size());
    for (std::size_t i = 1; i < found.size(); ++i) {
      EXPECT_EQ(found[i], expected[i]) << kSamples[i - 1].definition << ", row " << id;
    }
  }
}

TEST_F(DecoderOnServer, ReadsTheImagesBeforeAndAfterAChange) {
  run("CREATE TABLE sample (id INT PRIMARY KEY, v VARCHAR(20), n INT)");

  const auto changes = changes_by({"INSERT INTO sample VALUES (1, 'a', NULL), (2, 'b', 7)",
                                   "UPDATE sample SET v = 'c' WHERE id = 1", "DELETE FROM sample WHERE id = 2"});

  ASSERT_EQ(changes.size(), 4u);
  EXPECT_EQ(changes[1].after, (Line{"2", "b", "7"}));
  EXPECT_EQ(changes[2].before, (Line{"1", "a", "NULL"}));
  EXPECT_EQ(changes[2].after, (Line{"1", "c", "NULL"}));
  EXPECT_EQ(changes[3].before, (Line{"2", "b", "7"}));
}

TEST_F(DecoderOnServer, ReadsOnlyWhatAMinimalImageHas) {
  run("CREATE TABLE sample (id INT PRIMARY KEY, v VARCHAR(20), n INT)");

  const auto changes =
      changes_by({"SET SESSION binlog_row_image = MINIMAL", "INSERT INTO sample (id, v) VALUES (1, 'x')",
                  "UPDATE sample SET n = 9 WHERE id = 1", "SET SESSION binlog_row_image = FULL"});

  ASSERT_EQ(changes.size(), 2u);
  EXPECT_EQ(changes[1].before, (Line{"1", "absent", "absent"}));
  EXPECT_EQ(changes[1].after, (Line{"absent", "absent", "9"}));
}

TEST_F(DecoderOnServer, StartsByGtidWhereItStartsByPosition) {
  run("CREATE TABLE sample (id INT PRIMARY KEY) ");
  is_by_gtid_ = true;

  const auto changes =
      changes_by({"INSERT INTO sample VALUES (1)", "FLUSH BINARY LOGS", "INSERT INTO sample VALUES (2)"});

  ASSERT_EQ(changes.size(), 2u);
  EXPECT_EQ(changes[1].after, (Line{"2"}));
}

TEST_F(DecoderOnServer, ReadsPartitionedTables) {
  run("CREATE TABLE sample (id INT PRIMARY KEY, v VARCHAR(9)) PARTITION BY HASH (id) PARTITIONS 3");

  const auto changes =
      changes_by({"INSERT INTO sample VALUES (1, 'p'), (2, 'q')", "UPDATE sample SET v = 'r' WHERE id = 1"});

  ASSERT_EQ(changes.size(), 3u);
  EXPECT_EQ(changes[2].after, (Line{"1", "r"}));
}

TEST_F(DecoderOnServer, ReadsJson) {
  run("CREATE TABLE sample (id INT PRIMARY KEY, j JSON)");
  const std::string document = R"({"a": [1, -70000, 5000000000, 1.5, true, null], "b": {"c": "x\"y"}})";

  const auto changes =
      changes_by({"INSERT INTO sample VALUES (1, '" +
                  std::string(R"({"a": [1, -70000, 5000000000, 1.5, true, null], "b": {"c": "x\\"y"}})") + "')"});

  ASSERT_EQ(changes.size(), 1u);
  EXPECT_EQ(changes[0].after[1], document);
}

TEST_F(DecoderOnServer, ReadsCompressedTransactions) {
  run("CREATE TABLE sample (id INT PRIMARY KEY, v VARCHAR(5000))");
  const bool is_mysql = facts_.flavor == Flavor::mysql;

  const auto changes =
      changes_by({is_mysql ? "SET SESSION binlog_transaction_compression = ON" : "SET GLOBAL log_bin_compress = ON",
                  "INSERT INTO sample VALUES (1, REPEAT('z', 5000)), (2, NULL)",
                  is_mysql ? "SET SESSION binlog_transaction_compression = OFF" : "SET GLOBAL log_bin_compress = OFF"});

  ASSERT_EQ(changes.size(), 2u);
  EXPECT_EQ(changes[0].after[1], std::string(5000, 'z'));
}

TEST_F(DecoderOnServer, ReadsAnEventOfManyMegabytes) {
  run("CREATE TABLE sample (id INT PRIMARY KEY, v LONGBLOB)");

  const auto changes = changes_by(
      {"INSERT INTO sample SELECT 1, REPEAT('q', 10000000)", "UPDATE sample SET v = CONCAT(v, REPEAT('r', 5000000))"});

  ASSERT_EQ(changes.size(), 2u);
  EXPECT_EQ(changes[1].after[1].size(), 15'000'000u);
}

TEST_F(DecoderOnServer, SaysThatAFileIsGone) {
  Stream stream(schema_.options(), facts_, {.file = "binlog.000000", .position = 4}, {});
  try {
    for (;;) (void)stream.read();
  } catch (const BinlogError& error) {
    EXPECT_EQ(error.trouble(), Trouble::purged) << error.what();
    return;
  }
}

}  // namespace
}  // namespace oncemark::binlog
