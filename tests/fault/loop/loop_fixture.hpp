#pragma once

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <oncemark/dead_letter/replay.hpp>
#include <oncemark/kafka/admin.hpp>
#include <oncemark/kafka/producer.hpp>

#include "support/committed.hpp"
#include "support/eventually.hpp"
#include "support/temp_schema.hpp"
#include "support/tool_environment.hpp"
#include "support/unique_topic.hpp"
#include "support/worker.hpp"

namespace oncemark {

using namespace std::chrono_literals;
using testing::eventually;
using testing::Room;
using testing::Stack;
using testing::Tables;
using testing::TempSchema;
using testing::unique_name;
using testing::Worker;

/// Schema, topic, group and meeting room of one test of whole consumer processes, and what must hold in the tables.
class LoopTest : public ::testing::Test {
 protected:
  explicit LoopTest(std::int32_t partitions = 1) {
    pool_.acquire()->control(
        "CREATE TABLE effect (id BIGINT AUTO_INCREMENT PRIMARY KEY, message_id VARBINARY(255) NOT NULL, "
        "message_key VARBINARY(64), attempt INT, life INT, payload LONGBLOB)");
    pool_.acquire()->control("CREATE TABLE account (id INT PRIMARY KEY, n INT NOT NULL)");
    pool_.transact([](mysql::Transaction& tx) { tx.execute("INSERT INTO account VALUES (0, 0), (1, 0)"); });
    kafka::Admin(Stack::brokers()).create({{.name = topic_, .partitions = partitions}});
  }
  void TearDown() override {
    if (!HasFailure()) return;
    for (const auto& entry : std::filesystem::directory_iterator(room_.path())) {
      if (entry.path().extension() != ".log") continue;
      std::ostringstream text;
      text << std::ifstream(entry.path()).rdbuf();
      std::cerr << "--- " << entry.path().filename().string() << '\n' << text.str().substr(0, 20'000) << '\n';
    }
  }

  /// Of a consumer process with its relays: the rights of these roles, and those on its handler's tables.
  [[nodiscard]] mysql::PoolOptions account() const {
    return schema_.options_of("worker", [&](const std::string& user) {
      auto statements = testing::grants_of({"consumer", "relay"}, schema_.name(), user);
      const std::string to = " TO '" + user + "'@'%'";
      statements.push_back("GRANT INSERT ON " + schema_.name() + ".effect" + to);
      statements.push_back("GRANT SELECT, UPDATE ON " + schema_.name() + ".account" + to);
      return statements;
    });
  }
  /// A consumer process; `name` names its log, and `arguments` are those of loop_worker.
  std::unique_ptr<Worker> start(const std::string& name, std::vector<std::string> arguments = {},
                                const std::string& fault = "") {
    arguments.insert(arguments.begin(), {"room=" + room_.path().string(), "instance=" + name});
    const mysql::PoolOptions worker = account();
    return std::make_unique<Worker>(Worker::Options{.schema = schema_.name(),
                                                    .user = worker.user,
                                                    .password_file = worker.password_file,
                                                    .topic = topic_,
                                                    .group = group_,
                                                    .fault = fault,
                                                    .arguments = std::move(arguments),
                                                    .log = room_.path() / (name + ".log")});
  }
  /// Puts messages on the topic, {id, key}.
  void send(const std::vector<std::pair<std::string, std::string>>& messages, const std::string& payload = "p") {
    kafka::Producer out({.brokers = Stack::brokers(), .linger = 1ms});
    std::size_t missing = 0;
    for (const auto& [id, key] : messages) {
      ASSERT_EQ(out.send({.topic = topic_, .key = key, .payload = payload, .headers = {{"om-message-id", id}}}, 0),
                Sent::accepted);
      ++missing;
    }
    ASSERT_TRUE(eventually(30s, [&] {
      for (const Delivery& report : out.deliveries(100ms)) {
        EXPECT_EQ(report.status, DeliveryStatus::acked) << report.error;
        --missing;
      }
      return missing == 0;
    }));
  }
  /// `count` messages named {what}-{number}, over `keys` keys.
  void send(const std::string& what, int count, int keys = 4) {
    std::vector<std::pair<std::string, std::string>> messages;
    for (int i = 0; i < count; ++i) {
      messages.emplace_back(what + "-" + std::to_string(sent_ + i), "key-" + std::to_string(i % keys));
    }
    sent_ += count;
    send(messages);
  }

  std::int64_t count(const std::string& sql) {
    return pool_.transact([&](mysql::Transaction& tx) { return tx.query_row(sql)->get<std::int64_t>(0); });
  }
  void replay_all() {
    dead_letter::Replay replay(pool_);
    (void)replay.start({.selection = {.consumer = "shipping"}, .operator_name = "test", .reason = "fixed"});
    (void)replay.run({}, {});
  }
  std::int64_t effects() { return count("SELECT COUNT(*) FROM effect"); }
  std::int64_t committed(std::int32_t partition = 0) {
    return testing::committed_offset(Stack::brokers(), group_, topic_, partition);
  }
  void expect_each_effect_once(std::int64_t messages) {
    EXPECT_EQ(effects(), messages) << "an effect was lost or doubled";
    EXPECT_EQ(count("SELECT COUNT(DISTINCT message_id) FROM effect"), messages);
  }
  /// Of each key, in the order of the numbers in the ids; of all messages, or of those named like `prefix`.
  void expect_order_per_key(const std::string& prefix = "") {
    std::map<std::string, int> last;
    const auto rows = pool_.transact([](mysql::Transaction& tx) {
      return tx.query("SELECT CAST(message_key AS CHAR), CAST(message_id AS CHAR) FROM effect ORDER BY id");
    });
    for (const mysql::Row& row : rows) {
      const auto id = row.get<std::string>(1);
      if (!id.starts_with(prefix)) continue;
      const int number = std::stoi(id.substr(id.rfind('-') + 1));
      int& before = last.try_emplace(row.get<std::string>(0), -1).first->second;
      EXPECT_LT(before, number) << "key " << row.get<std::string>(0);
      before = number;
    }
  }
  void expect_no_attempt_burned() {
    EXPECT_EQ(count("SELECT COUNT(*) FROM consumed_message WHERE state <> 'done' OR attempt <> 0"), 0);
    EXPECT_EQ(count("SELECT COUNT(*) FROM failed_message"), 0);
    EXPECT_EQ(count("SELECT COUNT(*) FROM dead_letter"), 0);
    EXPECT_EQ(count("SELECT COUNT(*) FROM outbox_message"), 0);
  }

  const std::string topic_ = unique_name("loop");
  const std::string group_ = unique_name("g");
  Room room_;
  TempSchema schema_{Tables::ours};
  mysql::Pool pool_{schema_.options()};
  int sent_ = 0;
};

}  // namespace oncemark
