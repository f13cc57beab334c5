// Relays of both kinds, and everything that they lean on taken away in turn, with a real broker: judged from the table
// and from the topic read back. Kills servers and purges the binlog, so it runs on a stack of its own.
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
#include <oncemark/kafka/admin.hpp>
#include <oncemark/kafka/producer.hpp>
#include <oncemark/observe/log.hpp>
#include <oncemark/outbox/relay.hpp>

#include "integration/outbox/outbox_fixture.hpp"
#include "integration/outbox/relay_process.hpp"
#include "support/cutting_proxy.hpp"
#include "support/kafka_log.hpp"
#include "support/topics_by_hand.hpp"
#include "support/unique_topic.hpp"

namespace oncemark {
namespace {

using namespace std::chrono_literals;
using outbox::RelayProcess;
using testing::eventually;
using testing::Stack;

constexpr int kKeys = 10;

class Faults : public outbox::OutboxTest {
 protected:
  ~Faults() override { stop_writing(); }

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
  /// Row `number` of each key, a transaction each; one that the server does not answer for is left to be what it is.
  void write(int number) {
    for (int key = 0; key < kKeys; ++key) {
      const std::string id = std::to_string(key) + "-" + std::to_string(number);
      for (bool is_done = false; !is_done && !is_stopping_;) {
        try {
          writes_through_->transact([&](mysql::Transaction& tx) {
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
  mysql::Pool* writes_through_ = &pool_;
  std::atomic<bool> is_stopping_{false};
  std::thread writer_;
};

/// By what the relay reads.
class RelayFaults : public Faults, public ::testing::WithParamInterface<std::string> {
 protected:
  [[nodiscard]] static bool reads_binlog() { return GetParam() == "binlog"; }
  std::unique_ptr<RelayProcess> start(const std::string& fault = "") {
    return std::make_unique<RelayProcess>(schema_, "kafka", fault, 0, GetParam());
  }
};

TEST_P(RelayFaults, AreSurvivedWhenRelaysAreKilledAndPausedWhileFilesRotate) {
  auto one = start(reads_binlog() ? "binlog.after_ack:kill@20" : "relay.after_ack:kill@20");
  if (reads_binlog()) {
    ASSERT_TRUE(eventually(10s, [&] { return checkpoint() != "NULL"; }));
  }
  const std::string first = checkpoint();
  auto stand_by = start();
  start_writing();
  if (reads_binlog()) {
    ASSERT_TRUE(eventually(10s, [&] { return checkpoint() != first; }))
        << "the first scan ends though rows keep coming";
  }
  EXPECT_EQ(one->wait(), SIGKILL);
  ASSERT_TRUE(goes_on()) << "the other one takes over";
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

TEST_P(RelayFaults, AreSurvivedWhenTheBrokerIsRestarted) {
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

TEST_P(RelayFaults, AreSurvivedWhenTheServerIsKilled) {
  const auto relay = start();
  start_writing();
  ASSERT_TRUE(goes_on());
  stack("kill mysql");
  stack("restart mysql");
  ASSERT_TRUE(goes_on());

  expect_all_on_the_topic();
}

INSTANTIATE_TEST_SUITE_P(Polling, RelayFaults, ::testing::Values("poll"));
INSTANTIATE_TEST_SUITE_P(Decoding, RelayFaults, ::testing::Values("binlog"));

TEST_F(Faults, AreSurvivedWhenConnectionsAreCutInMidCommit) {
  testing::CuttingProxy proxy(Stack::mysql().url);
  mysql::PoolOptions options = schema_.options();
  options.url = proxy.url();
  mysql::Pool through(options);
  kafka::Producer out{{.brokers = Stack::brokers()}};
  outbox::Relay polling(through, out, quick());
  writes_through_ = &through;
  start_writing();
  ASSERT_TRUE(goes_on());
  proxy.cut_every(47);
  ASSERT_TRUE(eventually(60s, [&] { return proxy.cuts() >= 30; }));
  proxy.cut_every(0);
  ASSERT_TRUE(goes_on());
  polling.stop();
  kafka::Producer anew{{.brokers = Stack::brokers()}};
  binlog::Relay decoding(through, anew, {.outbox = quick()});
  ASSERT_TRUE(goes_on());
  proxy.cut_every(47);
  ASSERT_TRUE(eventually(60s, [&] { return proxy.cuts() >= 60; }));
  proxy.cut_every(0);

  expect_all_on_the_topic();
}

TEST_F(Faults, AreSurvivedWhenATopicIsDeletedAndMadeAgain) {
  const std::string other = testing::unique_topic(4);
  kafka::Producer out{{.brokers = Stack::brokers()}};
  outbox::RelayOptions options = quick();
  options.max_attempts = 1'000;  // the topic comes back
  outbox::Relay relay(pool_, out, options);
  const auto write_both = [&](int first, int last) {
    for (int number = first; number <= last; ++number) {
      write(number);
      put({{.topic = other, .key = "o", .payload = std::to_string(number), .id = "o-" + std::to_string(number)}});
    }
  };
  write_both(1, 5);
  ASSERT_TRUE(all_sent());
  testing::delete_topic(other);
  write_both(6, 30);
  ASSERT_TRUE(eventually(60s, [&] { return count("message_id NOT LIKE 'o-%' AND status <> 'sent'") == 0; }));
  ASSERT_TRUE(eventually(60s, [&] { return count("message_id LIKE 'o-%' AND status <> 'sent'") > 0; }));
  kafka::Admin(Stack::brokers()).create({{.name = other, .partitions = 4}});
  ASSERT_TRUE(all_sent(60s));

  std::vector<int> numbers;
  for (const Record& record : testing::read_topic(Stack::brokers(), other)) {
    const int number = std::stoi(record.payload.str());
    if (numbers.empty() || number > numbers.back()) numbers.push_back(number);
  }
  ASSERT_FALSE(numbers.empty());
  EXPECT_EQ(numbers.back(), 30);
  EXPECT_EQ(static_cast<int>(numbers.size()), 30 - numbers.front() + 1) << "in order, without a gap";
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

TEST_F(Faults, AreSurvivedWhenTheBinlogIsPurgedUnread) {
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
