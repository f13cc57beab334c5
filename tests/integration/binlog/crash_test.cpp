#include <algorithm>
#include <csignal>
#include <fstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "binlog_fixture.hpp"
#include "integration/outbox/relay_process.hpp"

namespace oncemark::binlog {
namespace {

std::vector<std::string> some_keys() {
  std::vector<std::string> keys;
  for (int i = 0; i < 20; ++i) keys.push_back("key" + std::to_string(i));
  return keys;
}

class BinlogCrashTest : public BinlogRelayTest {
 protected:
  /// Every number from 1 to `last` of each key, and for the first time in this order.
  void expect_order(int last) const {
    std::vector<int> all;
    for (int i = 1; i <= last; ++i) all.push_back(i);
    const auto numbers = topic_.by_key();
    EXPECT_EQ(numbers.size(), 20u);
    for (const auto& [key, found] : numbers) {
      std::vector<int> first;
      for (const int number : found) {
        if (std::find(first.begin(), first.end(), number) == first.end()) first.push_back(number);
      }
      EXPECT_EQ(first, all) << key;
    }
  }

  outbox::TopicFile topic_;
};

class BinlogFailPointTest : public BinlogCrashTest, public ::testing::WithParamInterface<const char*> {};

TEST_P(BinlogFailPointTest, LosesNothingWhenKilledThere) {
  set_checkpoint_now(pool_);
  for (int i = 1; i <= 10; ++i) put_numbered(some_keys(), 1, i);
  outbox::RelayProcess killed(schema_, topic_.path(), std::string(GetParam()) + ":kill@2", 0, "binlog");
  EXPECT_EQ(killed.wait(), SIGKILL);
  EXPECT_GT(count("status = 'pending'"), 0u);

  outbox::RelayProcess successor(schema_, topic_.path(), "", 0, "binlog");

  EXPECT_TRUE(all_sent());
  expect_order(10);
}

INSTANTIATE_TEST_SUITE_P(, BinlogFailPointTest,
                         ::testing::Values("binlog.after_send", "binlog.after_ack", "binlog.before_commit",
                                           "binlog.after_commit"),
                         [](const auto& test) { return std::string(test.param).substr(sizeof("binlog.") - 1); });

class CaptureFailPointTest : public BinlogCrashTest, public ::testing::WithParamInterface<const char*> {
 protected:
  CaptureFailPointTest() {
    by_itself("CREATE TABLE orders (id INT PRIMARY KEY, n INT)");
    by_itself("SET GLOBAL binlog_row_metadata = FULL");
  }
  void change(int first, int last) {
    for (int id = first; id <= last; ++id) execute("INSERT INTO orders VALUES (" + std::to_string(id) + ", 1)");
  }
  /// Ids of the topic's records, each where it came first.
  [[nodiscard]] std::vector<int> ids() const {
    std::vector<int> first;
    std::ifstream file(topic_.path());
    for (std::string line; std::getline(file, line);) {
      const int id = std::stoi(line);
      if (std::find(first.begin(), first.end(), id) == first.end()) first.push_back(id);
    }
    return first;
  }
  [[nodiscard]] static std::vector<int> up_to(int last) {
    std::vector<int> all;
    for (int id = 1; id <= last; ++id) all.push_back(id);
    return all;
  }
};

TEST_P(CaptureFailPointTest, LosesNothingWhenKilledThere) {
  outbox::RelayProcess killed(schema_, topic_.path(), std::string(GetParam()) + ":kill@2", 0, "capture");
  ASSERT_TRUE(eventually(
      10s, [&] { return value("SELECT COUNT(*) FROM relay_checkpoint WHERE relay = 'capture.test'") == "1"; }));
  change(1, 200);
  EXPECT_EQ(killed.wait(), SIGKILL);
  change(201, 220);

  outbox::RelayProcess successor(schema_, topic_.path(), "", 0, "capture");

  EXPECT_TRUE(eventually(20s, [&] { return ids().size() == 220; }));
  EXPECT_EQ(ids(), up_to(220)) << "in the order of commits";
}

INSTANTIATE_TEST_SUITE_P(, CaptureFailPointTest,
                         ::testing::Values("binlog.after_send", "binlog.after_ack", "binlog.before_commit",
                                           "binlog.after_commit"),
                         [](const auto& test) { return std::string(test.param).substr(sizeof("binlog.") - 1); });

TEST_F(BinlogCrashTest, IsFollowedByAPollingRelayWhenItHangs) {
  outbox::RelayProcess hung(schema_, topic_.path(), "", 0, "binlog");
  put_numbered(some_keys(), 5);
  ASSERT_TRUE(all_sent());
  hung.signal(SIGSTOP);
  put_numbered(some_keys(), 5, 6);
  outbox::RelayProcess successor(schema_, topic_.path());

  EXPECT_TRUE(all_sent());
  hung.signal(SIGCONT);
  put_numbered(some_keys(), 5, 11);
  EXPECT_TRUE(all_sent());
  expect_order(15);
}

}  // namespace
}  // namespace oncemark::binlog
