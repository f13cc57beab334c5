// A relay that reads the binlog, and everything that it leans on taken away in turn, with a real broker: judged from the
// table and from the topic read back. Kills servers and purges the binlog, so it runs on a stack of its own.
#include <atomic>
#include <csignal>
#include <cstdlib>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <oncemark/binlog/relay.hpp>
#include <oncemark/kafka/producer.hpp>
#include <oncemark/observe/log.hpp>

#include "integration/outbox/outbox_fixture.hpp"
#include "integration/outbox/relay_process.hpp"
#include "support/kafka_log.hpp"
#include "support/unique_topic.hpp"

namespace oncemark {
namespace {

using namespace std::chrono_literals;
using outbox::RelayProcess;
using testing::eventually;
using testing::Stack;

constexpr int kKeys = 10;

class BinlogFaults : public outbox::OutboxTest {
 protected:
  ~BinlogFaults() override { stop_writing(); }

  static void stack(const std::string& command) {
    ASSERT_EQ(std::system((std::string(ONCEMARK_STACK) + " " + command + " >/dev/null 2>&1").c_str()), 0) << command;
  }
  void by_itself(const std::string& sql) { pool_.connect(60s)->control(sql); }
  std::string checkpoint() { return value("SELECT CONCAT(file, position, gtids) FROM relay_checkpoint"); }
  /// A server keeps files that somebody reads, and the readers of killed relays are there for a moment.
  [[nodiscard]] ::testing::AssertionResult is_purged() {
    const auto session = pool_.connect(60s);
    return eventually(20s, [&] {
      const auto files = session->query("SHOW BINARY LOGS", {});
      if (files.size() == 1) return true;
      session->control("PURGE BINARY LOGS TO '" + files.back().get<std::string>(0) + "'");
      return false;
    });
  }
  std::unique_ptr<RelayProcess> start(const std::string& fault = "") {
    return std::make_unique<RelayProcess>(schema_, "kafka", fault, 0, "binlog");
  }

  /// Row `number` of each key, a transaction each; one that the server does not answer for is left to be what it is.
  void write(int number) {
    for (int key = 0; key < kKeys; ++key) {
      const std::string id = std::to_string(key) + "-" + std::to_string(number);
      for (bool is_done = false; !is_done && !is_stopping_;) {
        try {
          pool_.transact([&](mysql::Transaction& tx) {
            if (tx.query_row("SELECT 1 FROM outbox_message WHERE message_id = ?", id)) return;
            outbox::append(
                tx, {.topic = topic_, .key = "k" + std::to_string(key), .payload = std::to_string(number), .id = id});
          });
          is_done = true;
        } catch (const std::exception&) {  // the server is away, or it is not known whether it committed
          std::this_thread::yield();
        }
      }
    }
  }
  void start_writing() {
    writer_ = std::thread([this] {
      for (int number = 1; !is_stopping_; ++number) write(number);
    });
  }
  void stop_writing() {
    is_stopping_ = true;
    if (writer_.joinable()) writer_.join();
  }
  [[nodiscard]] ::testing::AssertionResult goes_on(std::uint64_t rows = 100) {
    std::uint64_t begin = 0;
    const auto sent = [&] {
      try {
        return count("status = 'sent'");
      } catch (const std::exception&) {
        return std::uint64_t{0};
      }
    };
    begin = sent();
    return eventually(30s, [&] { return sent() >= begin + rows; });
  }

  /// Every committed row lies on the topic, nothing else does, and each key's come in their order the first time.
  void expect_all_on_the_topic() {
    stop_writing();
    ASSERT_TRUE(all_sent(60s));
    std::set<std::string> committed;
    pool_.transact([&](mysql::Transaction& tx) {
      for (const mysql::Row& row : tx.query("SELECT message_id FROM outbox_message"))
        committed.insert(row.get<std::string>(0));
    });
    const std::vector<Record> records = testing::read_topic(Stack::brokers(), topic_);
    std::set<std::string> seen;
    std::map<std::string, int> last;
    for (const Record& record : records) {
      const std::string id(record.headers.text("om-message-id").value());
      if (!seen.insert(id).second) continue;
      const int number = std::stoi(record.payload.str());
      int& before = last[record.key.str()];
      EXPECT_EQ(number, before + 1) << "of key " << record.key.str();
      before = number;
    }
    EXPECT_EQ(seen, committed);
    RecordProperty("rows", std::to_string(committed.size()));
    RecordProperty("copies", std::to_string(records.size() - seen.size()));
  }

  const std::string topic_ = testing::unique_topic(4);
  std::atomic<bool> is_stopping_{false};
  std::thread writer_;
};

TEST_F(BinlogFaults, AreSurvivedWhenRelaysAreKilledAndPausedWhileFilesRotate) {
  auto one = start("binlog.after_ack:kill@20");
  ASSERT_TRUE(eventually(10s, [&] { return checkpoint() != "NULL"; }));
  const std::string first = checkpoint();
  auto stand_by = start();
  start_writing();
  ASSERT_TRUE(eventually(10s, [&] { return checkpoint() != first; })) << "the first scan ends though rows keep coming";
  EXPECT_EQ(one->wait(), SIGKILL);
  ASSERT_TRUE(goes_on()) << "the stand-by takes over";
  by_itself("FLUSH BINARY LOGS");
  auto third = start();
  stand_by->signal(SIGSTOP);
  ASSERT_TRUE(goes_on()) << "a paused relay loses its lease";
  stand_by->signal(SIGCONT);
  by_itself("FLUSH BINARY LOGS");
  ASSERT_TRUE(goes_on());
  third->signal(SIGKILL);
  ASSERT_TRUE(goes_on());

  expect_all_on_the_topic();
}

TEST_F(BinlogFaults, AreSurvivedWhenTheBrokerIsRestarted) {
  const auto relay = start();
  start_writing();
  ASSERT_TRUE(goes_on());
  stack("kill kafka");
  ASSERT_TRUE(eventually(30s, [&] { return count("status = 'pending'") > 200; }));
  stack("restart kafka");
  ASSERT_TRUE(goes_on(500));

  expect_all_on_the_topic();
  EXPECT_EQ(count("attempts > 0"), 0u) << "an outage is not a row's fault";
}

TEST_F(BinlogFaults, AreSurvivedWhenTheServerIsKilled) {
  const auto relay = start();
  start_writing();
  ASSERT_TRUE(goes_on());
  stack("kill mysql");
  stack("restart mysql");
  ASSERT_TRUE(goes_on());

  expect_all_on_the_topic();
}

/// What is logged while it lives.
class Lines final : public LogSink {
 public:
  void write(LogLevel, std::string_view text, const std::vector<LogField>&) noexcept override {
    const std::lock_guard lock(mutex_);
    text_ += std::string(text) + '\n';
  }
  [[nodiscard]] std::string text() const {
    const std::lock_guard lock(mutex_);
    return text_;
  }

 private:
  mutable std::mutex mutex_;
  std::string text_;  // guarded by mutex_
};

TEST_F(BinlogFaults, AreSurvivedWhenTheBinlogIsPurgedUnread) {
  kafka::Producer out{{.brokers = Stack::brokers()}};
  {
    binlog::Relay relay(pool_, out, {.outbox = quick()});
    ASSERT_TRUE(eventually(10s, [&] { return !relay.counts().place.is_empty(); }));
    write(1);
    ASSERT_TRUE(all_sent());
  }
  for (int number = 2; number <= 20; ++number) write(number);
  by_itself("FLUSH BINARY LOGS");
  ASSERT_TRUE(is_purged());
  const auto lines = std::make_shared<Lines>();
  set_log_sink(lines);
  binlog::Relay relay(pool_, out, {.outbox = quick()});
  ASSERT_TRUE(all_sent());
  for (int number = 21; number <= 30; ++number) write(number);

  expect_all_on_the_topic();
  EXPECT_EQ(relay.counts().gaps, 1u);
  relay.stop();
  set_log_sink(nullptr);
  EXPECT_THAT(lines->text(), ::testing::HasSubstr("the binlog between the checkpoint and now is gone"));
}

}  // namespace
}  // namespace oncemark
