// The session settings of every connection: design section 2.
#include <string>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <oncemark/mysql/errors.hpp>
#include <oncemark/mysql/pool.hpp>

#include "support/eventually.hpp"
#include "support/temp_schema.hpp"

namespace oncemark::mysql {
namespace {

using namespace std::chrono_literals;
using testing::eventually;
using testing::Stack;
using testing::TempSchema;

std::string ask(Session& session, std::string_view sql) { return session.query(sql, {}).at(0).get<std::string>(0); }

std::string variable(Session& session, const std::string& pattern) {
  return session.query("SHOW SESSION VARIABLES LIKE '" + pattern + "'", {}).at(0).get<std::string>(1);
}

int error_code(const std::function<void()>& work) {
  try {
    work();
    return -1;
  } catch (const MysqlError& error) {
    return error.code();
  }
}

class SessionTest : public ::testing::Test {
 protected:
  // A connection that is not the pool's, with the table `t`.
  std::unique_ptr<Connection> connect() { return pool_.connect(60s); }

  void make_table(const std::string& columns) { connect()->control("CREATE TABLE t (" + columns + ") ENGINE=InnoDB"); }

  TempSchema schema_;
  Pool pool_{schema_.options()};
};

TEST_F(SessionTest, IsNotInAutocommitMode) { EXPECT_EQ(ask(*connect(), "SELECT @@autocommit"), "0"); }

TEST_F(SessionTest, IsReadCommittedAlthoughTheConnectorAsksForRepeatableRead) {
  EXPECT_EQ(variable(*connect(), "t%\\_isolation"), "READ-COMMITTED");
}

TEST_F(SessionTest, SeesWhatOthersHaveCommittedMeanwhile) {
  make_table("id INT PRIMARY KEY");
  const auto reader = connect();
  EXPECT_EQ(ask(*reader, "SELECT COUNT(*) FROM t"), "0");
  const auto writer = connect();
  writer->execute("INSERT INTO t VALUES (1)", {});
  writer->control("COMMIT");

  EXPECT_EQ(ask(*reader, "SELECT COUNT(*) FROM t"), "1");
}

TEST_F(SessionTest, RefusesAKeyThatIsTooLongInsteadOfCuttingIt) {
  make_table("k VARBINARY(3) PRIMARY KEY");

  EXPECT_EQ(error_code([&] { connect()->execute("INSERT INTO t VALUES ('abcd')", {}); }), 1406);
}

TEST_F(SessionTest, IsStrictForEveryEngineAndHasNoModeOfTheServers) {
  const std::string mode = ask(*connect(), "SELECT @@sql_mode");

  EXPECT_THAT(mode, ::testing::HasSubstr("STRICT_ALL_TABLES"));
  EXPECT_THAT(mode, ::testing::HasSubstr("NO_ENGINE_SUBSTITUTION"));
  EXPECT_THAT(mode, ::testing::Not(::testing::HasSubstr("ANSI_QUOTES")));
}

TEST_F(SessionTest, SpeaksUtcAndUtf8) {
  const auto session = connect();

  EXPECT_EQ(ask(*session, "SELECT @@session.time_zone"), "+00:00");
  EXPECT_EQ(ask(*session, "SELECT @@character_set_client"), "utf8mb4");
  EXPECT_EQ(ask(*session, "SELECT @@character_set_results"), "utf8mb4");
}

TEST_F(SessionTest, HasTheTimeoutsOfItsOptions) {
  PoolOptions options = schema_.options();
  options.lock_wait_timeout = 7s;
  const auto session = Pool(options).connect(33s);

  EXPECT_EQ(ask(*session, "SELECT @@session.wait_timeout"), "33");
  EXPECT_EQ(ask(*session, "SELECT @@innodb_lock_wait_timeout"), "7");
  EXPECT_EQ(ask(*session, "SELECT @@lock_wait_timeout"), "7");
}

TEST_F(SessionTest, DoesNotSendLocalFiles) {
  make_table("line TEXT");
  const std::string path = ::testing::TempDir() + schema_.name();
  std::ofstream(path) << "secret\n";
  const auto session = connect();

  EXPECT_THROW(session->control("LOAD DATA LOCAL INFILE '" + path + "' INTO TABLE t"), MysqlError);
  std::remove(path.c_str());
  EXPECT_EQ(ask(*connect(), "SELECT COUNT(*) FROM t"), "0");
}

TEST_F(SessionTest, CountsChangedRowsAndNotFoundOnes) {
  make_table("id INT PRIMARY KEY, x INT");
  const auto session = connect();

  EXPECT_EQ(session->execute("INSERT INTO t VALUES (1, 1)", {}), 1u);
  EXPECT_EQ(session->execute("UPDATE t SET x = 1 WHERE id = 1", {}), 0u);
  EXPECT_EQ(session->execute("INSERT INTO t VALUES (1, 1), (2, 1) ON DUPLICATE KEY UPDATE id = t.id", {}), 1u);
}

TEST_F(SessionTest, RunsNoSecondStatement) {
  EXPECT_EQ(error_code([&] { connect()->control("SELECT 1; SELECT 2"); }), 1064);
}

TEST_F(SessionTest, FreesItsLocksWhenItHangs) {
  make_table("id INT PRIMARY KEY");
  const auto hung = pool_.connect(1s);
  hung->execute("INSERT INTO t VALUES (1)", {});

  const auto other = connect();  // waits for the row's lock, at most 5 s
  EXPECT_EQ(other->execute("INSERT INTO t VALUES (1)", {}), 1u);
  EXPECT_FALSE(hung->ping());
}

TEST_F(SessionTest, EndsAReadThatTakesTooLong) {
  PoolOptions options = schema_.options();
  options.read_timeout = 2s;
  options.lock_wait_timeout = 1s;
  const auto session = Pool(options).connect(60s);

  EXPECT_EQ(error_code([&] { session->control("DO SLEEP(20)"); }), 2013);
  EXPECT_FALSE(session->is_usable());
}

TEST_F(SessionTest, IsOfNoUseAfterTheServerClosedIt) {
  const auto session = connect();
  connect()->control("KILL " + ask(*session, "SELECT CONNECTION_ID()"));

  EXPECT_TRUE(eventually(5s, [&] { return !session->ping(); }));
  EXPECT_FALSE(session->is_usable());
  EXPECT_EQ(error_code([&] { session->execute("DO 1", {}); }), 2006);
  EXPECT_EQ(error_code([&] { session->control("COMMIT"); }), 2006);
}

TEST_F(SessionTest, IsNotRepairedInPlace) {
  make_table("id INT PRIMARY KEY");
  const auto session = connect();
  session->execute("INSERT INTO t VALUES (1)", {});
  connect()->control("KILL " + ask(*session, "SELECT CONNECTION_ID()"));

  EXPECT_THAT(error_code([&] { session->execute("INSERT INTO t VALUES (2)", {}); }), ::testing::AnyOf(2006, 2013));
  EXPECT_EQ(error_code([&] { session->execute("INSERT INTO t VALUES (3)", {}); }), 2006);
  EXPECT_EQ(ask(*connect(), "SELECT COUNT(*) FROM t"), "0");
}

TEST_F(SessionTest, IsEncryptedWhenAnAuthorityIsNamed) {
  PoolOptions options = schema_.options();
  options.tls_ca = Stack::authority();
  const auto cipher = [](const PoolOptions& with) {
    return Pool(with).acquire()->query("SHOW STATUS LIKE 'Ssl_cipher'", {}).at(0).get<std::string>(1);
  };

  EXPECT_NE(cipher(options), "");
  EXPECT_EQ(cipher(schema_.options()), "") << "clear text is clear text, not a lucky try";
}

TEST_F(SessionTest, IsNotMadeToAServerThatTheAuthorityDoesNotVouchFor) {
  PoolOptions options = schema_.options();
  options.tls_ca = Stack::stranger();
  try {
    (void)Pool(options).acquire();
    FAIL();
  } catch (const MysqlError& error) {
    EXPECT_EQ(error.code(), 2026);
    EXPECT_THAT(error.what(), ::testing::HasSubstr("check tls_ca"));
  }
}

TEST_F(SessionTest, NamesUserAndPasswordFileWhenTheServerDeniesAccess) {
  PoolOptions options = schema_.options();
  options.password_file.clear();
  options.password = "not-the-passw0rd";
  try {
    (void)Pool(options).acquire();
    FAIL();
  } catch (const MysqlError& error) {
    EXPECT_EQ(error.kind(), ErrorKind::misuse);
    EXPECT_THAT(error.what(), ::testing::HasSubstr("check user and password_file"));
    EXPECT_THAT(error.what(), ::testing::Not(::testing::HasSubstr("passw0rd")));
  }
}

TEST_F(SessionTest, NamesADatabaseThatDoesNotExist) {
  PoolOptions options = schema_.options();
  options.schema = "om_no_such_database";

  EXPECT_EQ(error_code([&] { (void)Pool(options).acquire(); }), 1049);
}

TEST_F(SessionTest, IsMadeByManyThreadsAtOnce) {
  std::atomic<int> made = 0;
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 8; ++i) threads.emplace_back([&] { made += ask(*connect(), "SELECT 1") == "1"; });
  }
  EXPECT_EQ(made, 8);
}

}  // namespace
}  // namespace oncemark::mysql
