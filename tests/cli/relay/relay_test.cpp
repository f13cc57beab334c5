// outbox-relay run as a process.
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <oncemark/core/id.hpp>
#include <oncemark/kafka/admin.hpp>
#include <oncemark/outbox/writer.hpp>

#include "support/eventually.hpp"
#include "support/process.hpp"
#include "support/tool_environment.hpp"

namespace oncemark::testing {
namespace {

using namespace std::chrono_literals;
using ::testing::AllOf;
using ::testing::HasSubstr;

class RelayProgramTest : public ::testing::Test {
 protected:
  [[nodiscard]] Process::Options options(std::vector<std::string> flags,
                                         const std::map<std::string, std::string>& changes = {}) const {
    flags.insert(flags.begin(), {program("outbox-relay"), "run"});
    return {.arguments = std::move(flags), .environment = with(environment_of(schema_, {"relay"}), changes)};
  }
  static Ended stop(Process& process, int signal = SIGTERM) {
    process.send(signal);
    return process.wait();
  }

  TempSchema schema_{Tables::ours};
  mysql::Pool pool_{schema_.options()};
};

TEST_F(RelayProgramTest, SendsTheRowsOfEachNamedRelayAndCountsThemAtTheStop) {
  const std::string topic = "relay-program-" + std::to_string(random_token());
  kafka::Admin(Stack::brokers()).create({{.name = topic}});
  pool_.transact([&](mysql::Transaction& tx) {
    outbox::append(tx, {.topic = topic, .payload = "one"});
    outbox::append(tx, {.topic = topic, .payload = "two", .relay = "shipping"});
  });

  Process process(options({"--name", "main", "--name", "shipping", "--json"}));
  EXPECT_TRUE(eventually(30s, [&] {
    return pool_.transact([&](mysql::Transaction& tx) {
      return tx.query("SELECT COUNT(*) FROM outbox_message WHERE status = 'sent'").at(0).get<int>(0) == 2;
    });
  }));
  const Ended ended = stop(process);

  EXPECT_EQ(ended.code, 0);
  EXPECT_THAT(ended.err, AllOf(HasSubstr("relay stopped relay=main sent=1"), HasSubstr("relay=shipping sent=1")));
  EXPECT_THAT(ended.out, HasSubstr("{\"relay\":\"main\",\"sent\":1,\"refused\":0,\"dead\":0}"));
  EXPECT_EQ(kafka::Admin(Stack::brokers()).watermarks({topic, 0}).high, 2);
}

TEST_F(RelayProgramTest, ReadsTheBinlogWithTheRightsOfItsRoleAndNoOthers) {
  const std::string topic = "relay-program-" + std::to_string(random_token());
  kafka::Admin(Stack::brokers()).create({{.name = topic}});
  const auto sent = [&] {
    return pool_.transact([&](mysql::Transaction& tx) {
      return tx.query("SELECT COUNT(*) FROM outbox_message WHERE status = 'sent'").at(0).get<int>(0);
    });
  };

  Process process(options({"--source", "binlog"}, environment_of(schema_, {"binlog-relay"})));
  EXPECT_TRUE(eventually(30s, [&] { return process.err().find("reading the binlog") != std::string::npos; }));
  pool_.transact([&](mysql::Transaction& tx) { outbox::append(tx, {.topic = topic, .payload = "one"}); });

  EXPECT_TRUE(eventually(30s, [&] { return sent() == 1; })) << process.err();
  const Ended ended = stop(process);
  EXPECT_EQ(ended.code, 0);
  EXPECT_EQ(ended.err.find("denied"), std::string::npos) << ended.err;
}

TEST_F(RelayProgramTest, WorksOverTlsAndShowsNoPasswordAnywhere) {
  std::string properties;
  for (const auto& [name, value] : Stack::secure_properties()) properties += name + "=" + value + ";";
  const auto environment =
      with(environment_of(schema_, {"binlog-relay"}), {{"ONCEMARK_MYSQL__TLS_CA", Stack::authority()},
                                                       {"ONCEMARK_KAFKA__BROKERS", Stack::secure_brokers()},
                                                       {"ONCEMARK_KAFKA__PROPERTIES", properties},
                                                       {"ONCEMARK_KAFKA__PASSWORD_FILE", Stack::kafka_password_file()},
                                                       {"ONCEMARK_LOG", "debug"}});
  const std::string topic = "relay-program-" + std::to_string(random_token());
  kafka::Admin(Stack::brokers()).create({{.name = topic}});
  std::string seen;
  const auto see = [&](const std::filesystem::path& file) {
    std::ostringstream text;
    text << std::ifstream(file, std::ios::binary).rdbuf();
    seen += text.str();
  };

  Process process(options({"--source", "binlog"}, environment));  // its connection to the binlog is another one
  EXPECT_TRUE(eventually(30s, [&] { return process.err().find("reading the binlog") != std::string::npos; }))
      << process.err();
  pool_.transact([&](mysql::Transaction& tx) { outbox::append(tx, {.topic = topic, .payload = "payload-17"}); });
  EXPECT_TRUE(eventually(30s, [&] {
    return kafka::Admin(Stack::brokers()).watermarks({topic, 0}).high == 1;
  })) << process.err();
  for (const char* what : {"cmdline", "environ"}) see("/proc/" + std::to_string(process.pid()) + "/" + what);
  EXPECT_THAT(seen, HasSubstr(environment.at("ONCEMARK_MYSQL__PASSWORD_FILE"))) << "this is what ps would show";
  const Ended ended = stop(process);
  EXPECT_EQ(ended.code, 0);
  seen += ended.out + ended.err;
  const Ended shown = run({program(), "config", "show"}, environment);
  EXPECT_EQ(shown.code, 0);
  seen += shown.out + shown.err;

  for (const char* file : {"ONCEMARK_MYSQL__PASSWORD_FILE", "ONCEMARK_KAFKA__PASSWORD_FILE"}) {
    std::string password;
    std::getline(std::ifstream(environment.at(file)), password);
    ASSERT_NE(password, "");
    EXPECT_EQ(seen.find(password), std::string::npos) << file;
  }
  EXPECT_EQ(seen.find("payload-17"), std::string::npos);
}

TEST_F(RelayProgramTest, WaitsForADatabaseThatIsAway) {
  Process process(options({}, {{"ONCEMARK_MYSQL__URL", "tcp://127.0.0.1:1"}}));

  EXPECT_TRUE(eventually(30s, [&] { return process.err().find("failures=2") != std::string::npos; }));
  EXPECT_TRUE(process.is_running());
  EXPECT_EQ(stop(process, SIGINT).code, 0);
}

TEST_F(RelayProgramTest, WaitsForABrokerThatIsAway) {
  Process process(options({}, {{"ONCEMARK_KAFKA__BROKERS", "127.0.0.1:1"}}));

  EXPECT_TRUE(eventually(30s, [&] { return process.err().find("Connection refused") != std::string::npos; }));
  EXPECT_TRUE(process.is_running());
  EXPECT_EQ(stop(process).code, 0);
}

TEST_F(RelayProgramTest, EndsWithTwoWhenItsSettingsCanNeverWork) {
  const auto refused = [&](const std::map<std::string, std::string>& changes) {
    const Ended ended = Process(options({}, changes)).wait();
    EXPECT_EQ(ended.code, 2) << ended.err;
    return ended.err;
  };

  EXPECT_THAT(refused({{"ONCEMARK_MYSQL__PASSWORD_FILE", "/proc/self/comm"}}), HasSubstr("Access denied"));
  const auto as_anybody = environment_of(schema_, {});
  EXPECT_THAT(refused(with(as_anybody, {{"ONCEMARK_MYSQL__SCHEMA", "om_absent"}})), HasSubstr("Unknown database"));
  const TempSchema empty(Tables::none);
  EXPECT_THAT(refused(with(as_anybody, {{"ONCEMARK_MYSQL__SCHEMA", empty.name()}})),
              HasSubstr("oncemark schema apply"));
  EXPECT_THAT(refused({{"ONCEMARK_KAFKA__PROPERTIES", "no.such=1"}}), HasSubstr("no.such"));
  EXPECT_THAT(refused({{"ONCEMARK_RELAY__NAME", "not a name"}}), HasSubstr("not a name"));
}

}  // namespace
}  // namespace oncemark::testing
