// oncemark doctor, config show, schema verify, schema grants and find, as processes: each thing broken once.
#include <filesystem>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "support/letters.hpp"
#include "support/private_redis.hpp"
#include "support/process.hpp"
#include "support/rewriting_proxy.hpp"
#include "support/tool_environment.hpp"
#include "support/two_sides.hpp"
#include "support/unique_topic.hpp"

namespace oncemark::testing {
namespace {

using nlohmann::json;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

class DoctorTest : public ::testing::Test {
 protected:
  Ended oncemark(std::vector<std::string> words, const std::map<std::string, std::string>& changes = {}) {
    words.insert(words.begin(), program());
    return run(std::move(words), with(environment_of(schema_, {}), changes));
  }
  /// The line of doctor about `check`; null when there is none.
  json line(const std::string& area, const std::string& check, const std::map<std::string, std::string>& changes = {}) {
    std::istringstream lines(oncemark({"doctor", area, "--json"}, changes).out);
    for (std::string text; std::getline(lines, text);) {
      json one = json::parse(text);
      if (one.value("area", "") == area && one.value("check", "") == check) return one;
    }
    return {};
  }
  void execute(const std::string& sql) {
    auto session = pool_.connect(std::chrono::seconds(60));
    session->control(sql);
    session->control("COMMIT");
  }

  TempSchema schema_{Tables::ours};
  mysql::Pool pool_{schema_.options()};
};

TEST_F(DoctorTest, FindsNothingToFailInAStackThatIsWell) {
  const Ended ended = oncemark({"doctor"});
  EXPECT_EQ(ended.code, 0) << ended.out;
  EXPECT_THAT(ended.out,
              AllOf(HasSubstr("OK    mysql: version"), HasSubstr("OK    mysql: affected rows"),
                    HasSubstr("OK    mysql: isolation"), HasSubstr("OK    kafka: reachable"), HasSubstr("0 FAIL")));
}

TEST_F(DoctorTest, SaysWhatIsUnreachableAndWhichSettingSaysSo) {
  EXPECT_EQ(line("mysql", "reachable", {{"ONCEMARK_MYSQL__URL", "tcp://127.0.0.1:1"}})["level"], "FAIL");
  EXPECT_THAT(line("mysql", "reachable", {{"ONCEMARK_MYSQL__SCHEMA", "no_such_db"}})["cure"].get<std::string>(),
              HasSubstr("CREATE DATABASE no_such_db"));
  EXPECT_THAT(line("mysql", "reachable", {{"ONCEMARK_MYSQL__USER", "nobody"}})["cure"].get<std::string>(),
              HasSubstr("ONCEMARK_MYSQL__USER"));
  const Ended ended = oncemark({"doctor", "kafka"}, {{"ONCEMARK_KAFKA__BROKERS", "127.0.0.1:1"}});
  EXPECT_EQ(ended.code, 4);
  EXPECT_THAT(ended.out, AllOf(HasSubstr("FAIL  kafka: reachable"), HasSubstr("ONCEMARK_KAFKA__BROKERS")));
  EXPECT_EQ(line("redis", "reachable", {{"ONCEMARK_REDIS__URL", "tcp://127.0.0.1:1"}})["level"], "FAIL");
}

TEST_F(DoctorTest, FindsTablesThatAreMissingOrChanged) {
  execute("ALTER TABLE outbox_message DROP COLUMN payload_hash");
  execute("ALTER TABLE consumed_message MODIFY consumer VARCHAR(100) CHARACTER SET utf8mb4 NOT NULL");
  const Ended ended = oncemark({"schema", "verify"});
  EXPECT_EQ(ended.code, 4);
  EXPECT_THAT(ended.out,
              AllOf(HasSubstr("outbox_message.payload_hash is missing"),
                    HasSubstr("consumed_message.consumer is varchar(100) NOT NULL, not varchar(100) ascii_bin")));
  EXPECT_EQ(line("mysql", "tables")["level"], "FAIL");

  execute("DELETE FROM oncemark_schema WHERE version > 3");
  EXPECT_EQ(line("mysql", "tables")["cure"], "oncemark schema apply");
}

TEST_F(DoctorTest, FindsNoDeviationInTablesThatWereJustMade) {
  const Ended ended = oncemark({"schema", "verify"});
  EXPECT_EQ(ended.code, 0) << ended.out;
}

TEST_F(DoctorTest, KnowsRightsThatAreLackingAndRightsThatAreTooMany) {
  EXPECT_THAT(line("mysql", "least privilege")["level"], "WARN") << "the stack's account may do everything";
  const auto as_user = environment_of(schema_, {"report"});
  const std::string user = as_user.at("ONCEMARK_MYSQL__USER");
  const std::string password = as_user.at("ONCEMARK_MYSQL__PASSWORD_FILE");
  std::filesystem::permissions(password, std::filesystem::perms::others_read, std::filesystem::perm_options::add);

  EXPECT_EQ(line("mysql", "least privilege", as_user)["level"], "OK");
  execute("GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO '" + user + "'@'%'");
  EXPECT_EQ(line("mysql", "least privilege", as_user)["level"], "OK") << "of a relay that reads the binlog";
  EXPECT_THAT(line("mysql", "grants", as_user)["cure"].get<std::string>(), HasSubstr("GRANT "));
  EXPECT_EQ(line("config", "mysql.password_file", as_user)["cure"], "chmod 600 " + password);
  insert_both(pool_, {.id = "ok"});
  insert_sent(pool_, {.id = "lost"});
  EXPECT_EQ(oncemark({"reconcile", "run"}, as_user).code, 4) << "these rights are enough to report";
  EXPECT_NE(oncemark({"reconcile", "run", "--only", "unsettled", "--repair", "--yes"}, as_user).code, 0);
}

TEST_F(DoctorTest, FindsTopicsThatAreMissing) {
  const Ended ended = oncemark({"doctor", "kafka", "--group", "g", "--topic", "no-such-topic"});
  EXPECT_EQ(ended.code, 4);
  EXPECT_THAT(ended.out, AllOf(HasSubstr("no-such-topic: does not exist"), HasSubstr("kafka-topics.sh")));
}

TEST_F(DoctorTest, FindsAClockThatIsWrong) {
  const std::string faketime = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1";
  if (!std::filesystem::exists(faketime)) GTEST_SKIP() << "libfaketime is not installed";
  const json found = line("mysql", "clock skew", {{"LD_PRELOAD", faketime}, {"FAKETIME", "+300s"}});
  EXPECT_EQ(found["level"], "WARN");
  EXPECT_THAT(found["text"].get<std::string>(), HasSubstr("differ by 2"));
  EXPECT_THAT(found["cure"].get<std::string>(), HasSubstr("timedatectl"));
}

TEST_F(DoctorTest, FindsASessionThatIsNotTheOneItAskedFor) {
  // A proxy on the way that asks for something else, as one that shares sessions may.
  RewritingProxy proxy(schema_.options().url, "READ COMMITTED", "SERIALIZABLE");
  const json found = line("mysql", "isolation", {{"ONCEMARK_MYSQL__URL", proxy.url()}});
  EXPECT_EQ(found["level"], "FAIL");
  EXPECT_THAT(found["text"].get<std::string>(), HasSubstr("SERIALIZABLE"));
}

TEST_F(DoctorTest, FindsABinlogInWhichNothingCanBeWritten) {
  const auto row =
      pool_.transact([](mysql::Transaction& tx) { return tx.query("SELECT @@log_bin").at(0).get<int>(0); });
  if (row == 0) GTEST_SKIP() << "this server has no binlog";
  // Of our own session only: the statement that sets it goes where it would set its mode.
  RewritingProxy proxy(schema_.options().url, "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
                       "SET SESSION binlog_format = 'STATEMENT'");
  const json found = line("mysql", "binlog_format", {{"ONCEMARK_MYSQL__URL", proxy.url()}});
  EXPECT_EQ(found["level"], "FAIL");
  EXPECT_THAT(found["cure"].get<std::string>(), HasSubstr("binlog_format"));
}

TEST_F(DoctorTest, FindsTopicsThatForgetTooEarly) {
  const std::string topic = unique_topic();
  kafka::Admin(Stack::brokers())
      .create({{.name = "retry.g." + topic, .partitions = 1, .config = {{"retention.ms", "3600000"}}},
               {.name = "dlq.g." + topic, .partitions = 1, .config = {{"cleanup.policy", "compact"}}}});
  const Ended ended = oncemark({"doctor", "kafka", "--group", "g", "--topic", topic});
  EXPECT_THAT(ended.out, AllOf(HasSubstr("retry.g." + topic + ": keeps records for 1h"), HasSubstr("retention.ms="),
                               HasSubstr("dlq.g." + topic + ": has cleanup.policy compact")));
}

TEST_F(DoctorTest, FindsARedisThatRefusesNewMarks) {
  const PrivateRedis full({"--maxmemory", "10mb", "--maxmemory-policy", "noeviction"});
  EXPECT_EQ(line("redis", "eviction", {{"ONCEMARK_REDIS__URL", full.options().url}})["level"], "WARN");
  const PrivateRedis well({"--maxmemory", "10mb", "--maxmemory-policy", "allkeys-lru"});
  EXPECT_EQ(line("redis", "eviction", {{"ONCEMARK_REDIS__URL", well.options().url}})["level"], "OK");
  EXPECT_EQ(line("redis", "maxmemory", {{"ONCEMARK_REDIS__URL", well.options().url}}), json());
}

TEST_F(DoctorTest, ShowsWhereEachSettingComesFromAndNoSecret) {
  const std::filesystem::path file = std::filesystem::temp_directory_path() / (schema_.name() + ".toml");
  std::ofstream(file)
      << "[relay]\nbatch = 17\n[kafka]\nproperties = { \"ssl.key.password\" = \"secret-17\", \"acks\" = "
         "\"all\" }\n[reconcile]\nsla = \"90s\"\npairs = [\"shipping:orders\"]\n";
  const Ended ended = oncemark({"config", "show", "--config", file.string()}, {{"ONCEMARK_RELAY__NAME", "other"}});
  EXPECT_EQ(ended.code, 0) << ended.err;
  EXPECT_THAT(ended.out, AllOf(HasSubstr("batch = 17"), HasSubstr("line 2, column"), HasSubstr("name = \"other\""),
                               HasSubstr("environment variable ONCEMARK_RELAY__NAME"), HasSubstr("sla = \"90s\""),
                               HasSubstr("pairs = [\"shipping:orders\"]"), HasSubstr("\"ssl.key.password\" = \"***\""),
                               HasSubstr("# default"), Not(HasSubstr("secret-17"))));

  std::ofstream(file) << ended.out;  // what it prints can be read again
  const Ended again = oncemark({"config", "show", "--config", file.string(), "--set"});
  EXPECT_EQ(again.code, 0) << again.err;
  EXPECT_THAT(again.out, HasSubstr("batch = 17"));

  std::ofstream(file) << "[relay]\nbatches = 17\n";
  const Ended unknown = oncemark({"config", "show", "--config", file.string()});
  EXPECT_EQ(unknown.code, 2);
  EXPECT_THAT(unknown.err, AllOf(HasSubstr("line 2, column 1"), HasSubstr("Did you mean \"batch\"?")));
  std::ofstream(file) << "[reconcile]\npairs = \"orders\"\n";
  EXPECT_THAT(oncemark({"config", "show", "--config", file.string()}).err,
              AllOf(HasSubstr("consumer:topic"), HasSubstr("line 2")));
  std::filesystem::remove(file);
}

TEST_F(DoctorTest, FindTellsWhereAMessageIs) {
  insert_both(pool_, {.id = "m-1", .business_key = "order-1"});
  (void)bury(pool_, order_message("o-2"));

  EXPECT_THAT(oncemark({"find", "order-1"}).out,
              AllOf(HasSubstr("state   shipping: done"), HasSubstr("outbox  main: row"), HasSubstr("m-1")));
  EXPECT_THAT(oncemark({"find", "m-1"}).out, HasSubstr("state   shipping: done")) << "by its message id";
  EXPECT_THAT(oncemark({"find", "o-2"}).out,
              AllOf(HasSubstr("dead"), HasSubstr("letter  shipping: 1 dead"), HasSubstr("dlq:shipping:1")));
  EXPECT_THAT(oncemark({"find", "nothing"}).err, HasSubstr("Nothing here knows"));
  EXPECT_EQ(oncemark({"find", "nothing", "--fail-if-empty"}).code, 5);
}

}  // namespace
}  // namespace oncemark::testing
