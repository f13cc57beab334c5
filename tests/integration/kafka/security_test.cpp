// TLS and passwords to the broker.
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <oncemark/kafka/admin.hpp>
#include <oncemark/kafka/errors.hpp>

#include "integration/kafka/traffic.hpp"
#include "support/stack.hpp"
#include "support/unique_topic.hpp"

namespace oncemark::kafka {
namespace {

using namespace std::chrono_literals;
using ::testing::AllOf;
using testing::eventually;
using ::testing::HasSubstr;
using ::testing::Not;
using testing::Stack;

class KafkaSecurity : public ::testing::Test {
 protected:
  ConsumerOptions options() const {
    return {.brokers = Stack::secure_brokers(),
            .group = testing::unique_name("g"),
            .topics = {topic_},
            .session_timeout = 6s,
            .start_timeout = 8s,
            .properties = Stack::secure_properties(),
            .password_file = Stack::kafka_password_file()};
  }
  /// Why a consumer with these options does not start.
  static std::string refusal(const ConsumerOptions& options, ErrorKind kind) {
    Listener listener;
    Consumer consumer(options);
    try {
      consumer.subscribe({}, listener);
    } catch (const KafkaError& error) {
      EXPECT_EQ(error.kind(), kind);
      return error.what();
    }
    ADD_FAILURE() << "it starts";
    return "";
  }

  const std::string topic_ = testing::unique_topic();
};

TEST_F(KafkaSecurity, SendsAndReadsOverTlsWithAPasswordFromAFile) {
  Producer out({.brokers = Stack::secure_brokers(),
                .linger = 1ms,
                .properties = Stack::secure_properties(),
                .password_file = Stack::kafka_password_file()});
  const auto reports = send_all(out, {{.topic = topic_, .payload = "one"}});
  EXPECT_EQ(reports.at(0).status, DeliveryStatus::acked) << reports.at(0).error;

  Listener listener;
  Consumer consumer(options());
  consumer.subscribe({}, listener);
  std::vector<Record> records;
  EXPECT_TRUE(eventually(30s, [&] {
    for (Record& record : consumer.poll(100ms, 10)) records.push_back(std::move(record));
    return !records.empty();
  }));
  EXPECT_EQ(records.at(0).payload.str(), "one");
  consumer.close();
}

TEST_F(KafkaSecurity, AWrongPasswordEndsTheStartAndIsNotShown) {
  const std::string file = ::testing::TempDir() + topic_ + ".password";
  std::ofstream(file) << "hunter2-of-nobody\n";
  ConsumerOptions wrong = options();
  wrong.password_file = file;

  EXPECT_THAT(refusal(wrong, ErrorKind::misuse),
              AllOf(HasSubstr("SASL authentication error"), HasSubstr("sasl.username and the password file"),
                    Not(HasSubstr("hunter2"))));
  std::filesystem::remove(file);
}

TEST_F(KafkaSecurity, AnAuthorityThatDoesNotVouchForTheBrokerIsNamed) {
  ConsumerOptions wrong = options();
  wrong.start_timeout = 1s;
  wrong.properties["ssl.ca.location"] = Stack::stranger();

  EXPECT_THAT(refusal(wrong, ErrorKind::unavailable),
              AllOf(HasSubstr("certificate verify failed"), HasSubstr("check ssl.ca.location")));
}

}  // namespace
}  // namespace oncemark::kafka
