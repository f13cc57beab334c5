// What relays ask of a server while there is nothing to send. The server writes down every statement meanwhile, so it
// runs on a stack of its own.
#include <chrono>
#include <stop_token>
#include <string>

#include <gtest/gtest.h>

#include <oncemark/binlog/bell.hpp>
#include <oncemark/binlog/relay.hpp>
#include <oncemark/core/loop.hpp>
#include <oncemark/outbox/relay.hpp>

#include "integration/outbox/outbox_fixture.hpp"

namespace oncemark {
namespace {

using namespace std::chrono_literals;
using testing::eventually;

class IdleRelays : public outbox::OutboxTest {
 protected:
  static constexpr double kSeconds = 5;

  ~IdleRelays() override {
    by_itself("SET GLOBAL general_log = OFF");
    for (const char* user : {"idle_poll", "idle_bell", "idle_binlog"})
      by_itself("DROP USER IF EXISTS " + std::string(user));
  }
  void by_itself(const std::string& sql) { pool_.connect(60s)->control(sql); }

  /// A pool whose statements can be told from those of others.
  mysql::PoolOptions as(const std::string& user) {
    by_itself("CREATE USER " + user + " IDENTIFIED BY 'secret-17'");
    by_itself("GRANT ALL ON *.* TO " + user);
    mysql::PoolOptions options = schema_.options();
    options.user = user;
    options.password_file.clear();
    options.password = "secret-17";
    return options;
  }
  /// Statements a second of that account, of those that were written down.
  double rate(const std::string& user) {
    const std::string statements =
        value("SELECT COUNT(*) FROM mysql.general_log WHERE command_type IN ('Query', 'Execute') AND user_host LIKE '" +
              user + "[%'");
    return std::stod(statements) / kSeconds;
  }
};

TEST_F(IdleRelays, IssueAtMostFiveStatementsASecondEach) {
  mysql::Pool for_poll(as("idle_poll"));
  mysql::Pool for_bell(as("idle_bell"));
  mysql::Pool for_binlog(as("idle_binlog"));
  outbox::Relay polling(for_poll, broker_, {.name = "poll"});
  testing::RecordingSink of_bell;
  outbox::Relay rung(for_bell, of_bell, {.name = "bell"});
  binlog::Bell bell(for_bell, [&](const std::string&) { rung.nudge(); });
  testing::RecordingSink of_binlog;
  binlog::Relay decoding(for_binlog, of_binlog, {.outbox = {.name = "binlog"}});
  ASSERT_TRUE(eventually(20s, [&] {
    return polling.counts().shards > 0 && rung.counts().shards > 0 && bell.is_listening() &&
           !decoding.counts().place.is_empty();
  }));
  ASSERT_TRUE(wait_for(std::stop_token(), 2s)) << "until their intervals have grown";
  by_itself("SET GLOBAL log_output = 'TABLE'");
  by_itself("TRUNCATE TABLE mysql.general_log");
  by_itself("SET GLOBAL general_log = ON");
  ASSERT_TRUE(wait_for(std::stop_token(), std::chrono::milliseconds(static_cast<int>(kSeconds * 1'000))));
  by_itself("SET GLOBAL general_log = OFF");

  for (const char* user : {"idle_poll", "idle_bell", "idle_binlog"}) {
    const double statements = rate(user);
    RecordProperty(user, std::to_string(statements));
    EXPECT_LE(statements, 5.0) << user;
    EXPECT_GT(statements, 0.0) << user << ": nothing was measured";
  }
}

}  // namespace
}  // namespace oncemark
