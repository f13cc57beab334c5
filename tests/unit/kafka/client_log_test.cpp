#include "kafka/client_log.hpp"

#include <syslog.h>

#include <memory>
#include <mutex>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace oncemark::kafka {
namespace {

class Lines final : public LogSink {
 public:
  void write(LogLevel level, std::string_view text, const std::vector<LogField>& fields) noexcept override {
    const std::lock_guard lock(mutex_);
    levels.push_back(level);
    texts.emplace_back(text);
    last_fields = fields;
  }
  std::vector<LogLevel> levels;
  std::vector<std::string> texts;
  std::vector<LogField> last_fields;

 private:
  std::mutex mutex_;
};

class ClientLogTest : public ::testing::Test {
 protected:
  ClientLogTest() {
    set_log_sink(lines_);
    set_log_level(LogLevel::info);
  }
  ~ClientLogTest() override { set_log_sink(nullptr); }

  std::shared_ptr<Lines> lines_ = std::make_shared<Lines>();
  ClientLog log_{"producer"};
};

TEST_F(ClientLogTest, NeverRaisesMoreThanAWarning) {
  log_.write(LOG_EMERG, "A", "a");
  log_.write(LOG_ERR, "B", "b");
  log_.write(LOG_WARNING, "C", "c");
  log_.write(LOG_INFO, "D", "d");

  EXPECT_THAT(lines_->levels, ::testing::ElementsAre(LogLevel::warn, LogLevel::warn, LogLevel::warn, LogLevel::info));
}

TEST_F(ClientLogTest, LetsAFewLinesOfEachFacilityThrough) {
  for (int i = 0; i < 100; ++i) log_.write(LOG_ERR, "FAIL", "connection refused");
  log_.write(LOG_ERR, "OTHER", "x");

  EXPECT_EQ(lines_->texts.size(), 6u);
}

TEST_F(ClientLogTest, RemembersWhyTheLastConnectionFailed) {
  log_.write(LOG_ERR, "FAIL", "first");
  for (int i = 0; i < 100; ++i) log_.write(LOG_ERR, "FAIL", "connection refused");
  log_.write(LOG_ERR, "OTHER", "x");

  EXPECT_EQ(log_.last_failure(), "connection refused");
}

TEST_F(ClientLogTest, NamesTheClientAndTheFacility) {
  log_.write(LOG_ERR, "FAIL", "x");

  ASSERT_GE(lines_->last_fields.size(), 2u);
  EXPECT_EQ(lines_->last_fields[0].value, "producer");
  EXPECT_EQ(lines_->last_fields[1].value, "FAIL");
}

}  // namespace
}  // namespace oncemark::kafka
