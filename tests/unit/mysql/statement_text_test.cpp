#include "mysql/statement_text.hpp"

#include <gtest/gtest.h>

namespace oncemark::mysql {
namespace {

TEST(EndsTransaction, FindsDdl) {
  EXPECT_EQ(ends_transaction("CREATE TABLE t (id INT)"), "CREATE TABLE");
  EXPECT_EQ(ends_transaction("create or replace table t (id INT)"), "CREATE TABLE");
  EXPECT_EQ(ends_transaction("DROP TABLE t"), "DROP TABLE");
  for (const char* sql : {"ALTER TABLE t ADD x INT", "TRUNCATE t", "RENAME TABLE a TO b", "CREATE INDEX i ON t (x)",
                          "CREATE DATABASE d", "DROP VIEW v", "CREATE TEMPORARY SEQUENCE s"}) {
    EXPECT_TRUE(ends_transaction(sql)) << sql;
  }
}

TEST(EndsTransaction, AllowsTemporaryTables) {
  EXPECT_FALSE(ends_transaction("CREATE TEMPORARY TABLE t (id INT)"));
  EXPECT_FALSE(ends_transaction("CREATE OR REPLACE TEMPORARY TABLE t (id INT)"));
  EXPECT_FALSE(ends_transaction("DROP TEMPORARY TABLE t"));
}

TEST(EndsTransaction, FindsTransactionControl) {
  for (const char* sql : {"COMMIT", "ROLLBACK", "BEGIN", "BEGIN NOT ATOMIC SELECT 1; END", "START TRANSACTION",
                          "SAVEPOINT a", "ROLLBACK TO SAVEPOINT a", "RELEASE SAVEPOINT a", "XA START 'x'"}) {
    EXPECT_TRUE(ends_transaction(sql)) << sql;
  }
}

TEST(EndsTransaction, FindsLocksAccountsAndAdministration) {
  for (const char* sql :
       {"LOCK TABLES t WRITE", "UNLOCK TABLES", "GRANT ALL ON *.* TO u", "REVOKE ALL ON *.* FROM u",
        "SET PASSWORD = 'x'", "ANALYZE TABLE t", "OPTIMIZE TABLE t", "REPAIR TABLE t", "CHECK TABLE t",
        "CACHE INDEX t IN k", "LOAD INDEX INTO CACHE t", "FLUSH TABLES", "RESET MASTER", "INSTALL PLUGIN p SONAME 's'",
        "UNINSTALL PLUGIN p", "CHANGE MASTER TO x = 1", "STOP SLAVE", "START SLAVE", "IMPORT TABLE FROM 'x'"}) {
    EXPECT_TRUE(ends_transaction(sql)) << sql;
  }
}

TEST(EndsTransaction, FindsSettingsThatChangeHowTransactionsEnd) {
  for (const char* sql :
       {"SET autocommit = 1", "SET @@autocommit = 1", "SET SESSION autocommit = 1", "SET @@session.autocommit = 1",
        "SET @a = (1, 2), autocommit = 1", "SET `autocommit` = 1", "SET x = 1, @@local . autocommit = ON",
        "SET TRANSACTION READ ONLY", "SET SESSION TRANSACTION ISOLATION LEVEL SERIALIZABLE", "SET completion_type = 2",
        "SET DEFAULT ROLE r FOR u", "SET STATEMENT max_statement_time = 1 FOR DROP TABLE t"}) {
    EXPECT_TRUE(ends_transaction(sql)) << sql;
  }
}

TEST(EndsTransaction, AllowsOtherSettings) {
  for (const char* sql :
       {"SET @autocommit = 1", "SET @a = 'autocommit', @b = 2", "SET SESSION sort_buffer_size = 1000000",
        "SET NAMES utf8mb4", "SET STATEMENT max_statement_time = 1 FOR SELECT 1"}) {
    EXPECT_FALSE(ends_transaction(sql)) << sql;
  }
}

TEST(EndsTransaction, LooksBehindBlanksCommentsAndParentheses) {
  for (const char* sql :
       {"  \n\t DROP TABLE t", "/* why */ DROP TABLE t", "-- why\nDROP TABLE t", "# why\nDROP TABLE t",
        "/*a*//*b*/\n--\nDROP TABLE t", "(((COMMIT", "--\tx\nCOMMIT", "DROP/**/TABLE t"}) {
    EXPECT_TRUE(ends_transaction(sql)) << sql;
  }
}

TEST(EndsTransaction, ReadsVersionedCommentsBothWays) {
  EXPECT_TRUE(ends_transaction("/*! DROP TABLE t */"));
  EXPECT_TRUE(ends_transaction("/*!50000 DROP TABLE t */"));
  EXPECT_TRUE(ends_transaction("/*M!100000 DROP TABLE t */"));
  EXPECT_TRUE(ends_transaction("/*!99999 SELECT */ DROP TABLE t"));
  EXPECT_FALSE(ends_transaction("/*!50000 SELECT */ 1"));
  EXPECT_FALSE(ends_transaction("SELECT /*! STRAIGHT_JOIN */ 1"));
}

TEST(EndsTransaction, RefusesWhatMayHoldAnything) {
  EXPECT_TRUE(ends_transaction("EXECUTE IMMEDIATE 'DROP TABLE t'"));
  EXPECT_TRUE(ends_transaction("PREPARE s FROM 'DROP TABLE t'"));
  EXPECT_TRUE(ends_transaction("IF 1 THEN DROP TABLE t; END IF"));
  EXPECT_TRUE(ends_transaction("here: LOOP COMMIT; END LOOP"));
}

TEST(EndsTransaction, AllowsStatementsThatMerelyMentionThem) {
  for (const char* sql : {"SELECT 'DROP TABLE t'", "INSERT INTO t VALUES ('COMMIT')", "UPDATE t SET `alter` = 1",
                          "(SELECT 1) UNION (SELECT 2)", "WITH x AS (SELECT 1) SELECT * FROM x", "SELECT 1 -- COMMIT",
                          "DELETE FROM t /* TRUNCATE t */", "REPLACE INTO t VALUES (1)", "SELECT * FROM t FOR UPDATE",
                          "CALL p()", "LOAD DATA INFILE 'x' INTO TABLE t", "SHOW CREATE TABLE t", ""}) {
    EXPECT_FALSE(ends_transaction(sql)) << sql;
  }
}

TEST(EndsTransaction, SurvivesTextThatEndsTooEarly) {
  for (const char* sql : {"/*", "/*!", "/*! DROP", "--", "'", "SET `", "SET '\\", "CREATE", "(", "SET", "LOAD"}) {
    (void)ends_transaction(sql);
    (void)first_keyword(sql);
  }
}

TEST(FirstKeyword, IsInUpperCase) {
  EXPECT_EQ(first_keyword(" /* x */ (select 1)"), "SELECT");
  EXPECT_EQ(first_keyword("call p(1)"), "CALL");
  EXPECT_EQ(first_keyword(""), "");
}

}  // namespace
}  // namespace oncemark::mysql
