#include <oncemark/outbox/relay.hpp>

#include <functional>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <oncemark/core/error.hpp>

namespace oncemark::outbox {
namespace {

using namespace std::chrono_literals;

std::string complaint(const std::function<void(RelayOptions&)>& change) {
  RelayOptions options;
  change(options);
  try {
    options.validate();
  } catch (const MisuseError& error) {
    return error.what();
  }
  return "";
}

TEST(RelayOptions, AreSoundByDefault) {
  EXPECT_EQ(complaint([](RelayOptions&) {}), "");
}

TEST(RelayOptions, NameTheFieldTheValueAndTheRange) {
  EXPECT_EQ(complaint([](RelayOptions& o) { o.batch = 0; }), "RelayOptions::batch is 0; allowed: 1 to 10,000");
}

TEST(RelayOptions, RefuseWhatCannotWork) {
  EXPECT_NE(complaint([](RelayOptions& o) { o.name = "a b"; }), "");
  EXPECT_NE(complaint([](RelayOptions& o) { o.batch = 10'001; }), "");
  EXPECT_NE(complaint([](RelayOptions& o) { o.poll_interval = 0ms; }), "");
  EXPECT_NE(complaint([](RelayOptions& o) { o.max_poll_interval = o.poll_interval - 1ms; }), "");
  EXPECT_NE(complaint([](RelayOptions& o) { o.report_timeout = 0ms; }), "");
  EXPECT_NE(complaint([](RelayOptions& o) { o.max_attempts = 0; }), "");
  EXPECT_NE(complaint([](RelayOptions& o) { o.max_attempts = 1'001; }), "");
  EXPECT_NE(complaint([](RelayOptions& o) { o.backoff.factor = 0; }), "");
}

}  // namespace
}  // namespace oncemark::outbox
