// Kills the producer of transactional messages at every step, and the check-back at every step of its own; then checks
// from the tables and from the topic, read back, that a message is there exactly when its transaction is.
#include <csignal>
#include <map>
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <oncemark/core/error.hpp>
#include <oncemark/core/faults.hpp>
#include <oncemark/kafka/producer.hpp>
#include <oncemark/transactional/sender.hpp>

#include "support/eventually.hpp"
#include "support/kafka_log.hpp"
#include "support/process.hpp"
#include "support/temp_schema.hpp"
#include "support/tool_environment.hpp"
#include "support/unique_topic.hpp"

namespace oncemark::transactional {
namespace {

using namespace std::chrono_literals;
using testing::eventually;
using testing::Process;
using testing::Stack;

std::vector<std::string> points_of(const std::string& prefix, const std::string& but = "") {
  std::vector<std::string> points;
  for (const std::string& name : faults::names()) {
    if (name.starts_with(prefix) && name != but) points.push_back(name);
  }
  return points;
}

std::string name_of(const ::testing::TestParamInfo<std::string>& point) {
  std::string name = point.param;
  for (char& c : name) {
    if (c == '.' || c == '_') c = 'X';
  }
  return name;
}

class HalfCrashTest : public ::testing::TestWithParam<std::string> {
 protected:
  HalfCrashTest() {
    kafka::Admin(Stack::brokers()).create({{.name = half_topic(sender_), .partitions = 2}});
    pool_.acquire()->control("CREATE TABLE sale (id INT PRIMARY KEY) ENGINE=InnoDB");
  }

  std::unique_ptr<Process> start(std::vector<std::string> words, const std::string& fault = "") {
    words.insert(words.begin(), ONCEMARK_HALF_WORKER);
    const mysql::PoolOptions options = schema_.options_of("producer", [&](const std::string& user) {
      auto statements = testing::grants_of({"producer"}, schema_.name(), user);
      statements.push_back("GRANT INSERT ON " + schema_.name() + ".sale TO '" + user + "'@'%'");
      return statements;
    });
    return std::make_unique<Process>(
        Process::Options{.arguments = std::move(words),
                         .environment = {{"ONCEMARK_MYSQL__URL", options.url},
                                         {"ONCEMARK_MYSQL__USER", options.user},
                                         {"ONCEMARK_MYSQL__PASSWORD_FILE", options.password_file},
                                         {"ONCEMARK_KAFKA__BROKERS", Stack::brokers()},
                                         {"ONCEMARK_FAULT", fault}}});
  }
  std::unique_ptr<Process> start_sender(int first, int count, const std::string& fault = "") {
    return start({"send", schema_.name(), sender_, topic_, std::to_string(first), std::to_string(count)}, fault);
  }
  std::unique_ptr<Process> start_checks(const std::string& fault = "") {
    return start({"check", schema_.name(), sender_}, fault);
  }

  std::set<std::string> ids(const std::string& sql) {
    std::set<std::string> found;
    for (const mysql::Row& row : pool_.transact([&](mysql::Transaction& tx) { return tx.query(sql); })) {
      found.insert(row.get<std::string>(0));
    }
    return found;
  }
  std::set<std::string> committed() { return ids("SELECT CAST(id AS CHAR) FROM sale"); }
  std::set<std::string> on_topic() {
    std::set<std::string> found;
    for (const Record& record : testing::read_topic(Stack::brokers(), topic_)) found.insert(record.payload.str());
    return found;
  }
  /// Ids of half messages that are neither parked nor settled by a row.
  std::set<std::string> open_halves() {
    std::set<std::string> open;
    for (const Record& record : testing::read_topic(Stack::brokers(), half_topic(sender_)))
      open.insert(record.key.str());
    for (const char* sql : {"SELECT message_id FROM local_transaction WHERE state <> 'committed'",
                            "SELECT message_id FROM parked_half"}) {
      for (const std::string& id : ids(sql)) open.erase(id);
    }
    return open;
  }

  testing::TempSchema schema_{testing::Tables::ours};
  mysql::Pool pool_{schema_.options()};
  const std::string sender_ = testing::unique_name("shop");
  const std::string topic_ = testing::unique_topic(2);
};

class ProducerCrash : public HalfCrashTest {};

TEST_P(ProducerCrash, LosesNoCommittedMessageAndSendsNoOther) {
  auto victim = start_sender(1, 30, GetParam() + ":kill@10");
  EXPECT_EQ(victim->wait().code, 128 + SIGKILL) << victim->err();
  auto checks = start_checks();
  auto successor = start_sender(101, 10);
  EXPECT_EQ(successor->wait().code, 0) << successor->err();

  EXPECT_TRUE(eventually(30s, [&] { return open_halves().empty(); })) << checks->err();

  EXPECT_EQ(on_topic(), committed());
  EXPECT_GE(committed().size(), 6u + 7u);
  checks->send(SIGTERM);
  EXPECT_EQ(checks->wait().code, 0) << checks->err();
}

INSTANTIATE_TEST_SUITE_P(OfTransactionalMessages, ProducerCrash,
                         ::testing::ValuesIn(points_of("half.", "half.before_settle")), name_of);

/// Takes half messages, and answers for nothing else.
class HalvesOnly final : public Sink {
 public:
  Sent send(const OutgoingRecord& record, std::uint64_t token) override {
    if (record.topic.starts_with("half.")) return producer_.send(record, token);
    failed_.push_back({.token = token, .status = DeliveryStatus::failed, .error = "the producer has died"});
    return Sent::accepted;
  }
  std::vector<Delivery> deliveries(std::chrono::milliseconds wait) override {
    std::vector<Delivery> reports = std::exchange(failed_, {});
    for (Delivery& report : producer_.deliveries(reports.empty() ? wait : 0ms)) reports.push_back(std::move(report));
    return reports;
  }
  void discard() override { producer_.discard(); }

 private:
  kafka::Producer producer_{{.brokers = Stack::brokers(), .linger = 0ms}};
  std::vector<Delivery> failed_;
};

class CheckBackCrash : public HalfCrashTest {
 protected:
  /// Half messages whose producer has died: of each third one committed, one rolled back, and one asked of a Check.
  void leave_halves(int count) {
    HalvesOnly broker;
    Sender sender(pool_, broker, {.name = sender_, .first_check = 1ms});
    for (int i = 1; i <= count; ++i) {
      const std::string id = std::to_string(i);
      const outbox::Draft draft{.topic = topic_, .key = id, .payload = id, .id = id};
      if (i % 3 == 2) {
        (void)sender.prepare(draft);
        continue;
      }
      try {
        sender.send(draft, [&](mysql::Transaction& tx) {
          tx.execute("INSERT INTO sale VALUES (?)", i);
          if (i % 3 == 0) throw PermanentError("sold out");
        });
      } catch (const PermanentError&) {
      }
    }
  }
};

TEST_P(CheckBackCrash, SettlesEverythingAllTheSame) {
  leave_halves(12);
  auto victim = start_checks(GetParam() + ":kill");
  EXPECT_TRUE(eventually(30s, [&] { return !victim->is_running(); })) << GetParam() << " was never passed";
  EXPECT_EQ(victim->wait().code, 128 + SIGKILL) << victim->err();

  auto successor = start_checks();

  EXPECT_TRUE(eventually(30s, [&] { return open_halves().empty(); })) << successor->err();
  EXPECT_EQ(on_topic(), committed());
  EXPECT_EQ(committed(), (std::set<std::string>{"1", "10", "4", "7"}));
  EXPECT_EQ(ids("SELECT message_id FROM parked_half"), (std::set<std::string>{"11", "2", "5", "8"}));
  successor->send(SIGTERM);
  EXPECT_EQ(successor->wait().code, 0) << successor->err();
}

INSTANTIATE_TEST_SUITE_P(OfTransactionalMessages, CheckBackCrash, ::testing::ValuesIn(points_of("checkback.")),
                         name_of);

}  // namespace
}  // namespace oncemark::transactional
