#include "kafka/config.hpp"

#include <unistd.h>

#include <filesystem>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <oncemark/core/error.hpp>
#include <oncemark/kafka/consumer.hpp>
#include <oncemark/kafka/producer.hpp>

namespace oncemark::kafka {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using namespace std::chrono_literals;

std::string value_of(const ConfHandle& conf, const std::string& name) {
  char text[512];
  std::size_t size = sizeof text;
  EXPECT_EQ(rd_kafka_conf_get(conf.get(), name.c_str(), text, &size), RD_KAFKA_CONF_OK) << name;
  return text;
}

ConsumerOptions consumer_options(Properties properties = {}) {
  return {.group = "shipping", .topics = {"orders"}, .properties = std::move(properties)};
}

/// The error that `make` throws, as "key | text".
template <typename Make>
std::string config_error(Make make) {
  try {
    (void)make();
  } catch (const ConfigError& error) {
    return error.key() + " | " + error.what();
  }
  return "nothing was thrown";
}

std::string producer_error(Properties properties) {
  return config_error([&] { return producer_conf({.properties = properties}); });
}

std::string consumer_error(const ConsumerOptions& options) {
  return config_error([&] { return consumer_conf(options); });
}

class PasswordFile {
 public:
  explicit PasswordFile(const std::string& content) { std::ofstream(path_, std::ios::binary) << content; }
  ~PasswordFile() { std::filesystem::remove(path_); }
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  const std::string path_ =
      (std::filesystem::temp_directory_path() / ("oncemark-password-" + std::to_string(getpid()))).string();
};

TEST(ProducerConf, HoldsWhatThePromisesRestOn) {
  const ConfHandle conf = producer_conf({.brokers = "a:1,b:2", .linger = 7ms, .max_queued = 42});

  EXPECT_EQ(value_of(conf, "bootstrap.servers"), "a:1,b:2");
  EXPECT_EQ(value_of(conf, "enable.idempotence"), "true");
  EXPECT_EQ(value_of(conf, "acks"), "-1");
  EXPECT_EQ(value_of(conf, "partitioner"), "murmur2_random");
  EXPECT_EQ(value_of(conf, "message.timeout.ms"), "0");
  EXPECT_EQ(value_of(conf, "linger.ms"), "7");
  EXPECT_EQ(value_of(conf, "queue.buffering.max.messages"), "42");
}

TEST(ProducerConf, TakesOtherPropertiesByName) {
  const ConfHandle conf = producer_conf({.properties = {{"compression.type", "zstd"}, {"message.max.bytes", "2000"}}});

  EXPECT_EQ(value_of(conf, "compression.codec"), "zstd");
  EXPECT_EQ(value_of(conf, "message.max.bytes"), "2000");
}

TEST(ProducerConf, RefusesToLoseItsPromisesAndSaysWhy) {
  for (const char* name : {"acks", "request.required.acks", "enable.idempotence", "partitioner", "message.timeout.ms",
                           "delivery.timeout.ms", "retries", "delivery.report.only.error", "transactional.id",
                           "bootstrap.servers", "linger.ms", "queue.buffering.max.messages"}) {
    EXPECT_THAT(producer_error({{name, "1"}}),
                AllOf(HasSubstr("kafka.properties." + std::string(name) + " | "), HasSubstr("cannot be set here: ")));
  }
}

TEST(ProducerConf, NamesAnUnknownProperty) {
  EXPECT_THAT(producer_error({{"compresion.type", "zstd"}}),
              AllOf(HasSubstr("kafka.properties.compresion.type | "), HasSubstr("No such configuration property")));
}

TEST(ProducerConf, NamesABadValue) {
  EXPECT_THAT(producer_error({{"compression.type", "rar"}}),
              AllOf(HasSubstr("kafka.properties.compression.type | "), HasSubstr("rar")));
}

TEST(ProducerConf, RefusesValuesOutOfRange) {
  EXPECT_THAT(config_error([] { return producer_conf({.linger = 61s}); }), HasSubstr("kafka.linger | "));
  EXPECT_THAT(config_error([] { return producer_conf({.max_queued = 0}); }), HasSubstr("kafka.max_queued | "));
  EXPECT_THAT(config_error([] { return producer_conf({.brokers = " ,"}); }), HasSubstr("kafka.brokers | "));
}

TEST(ProducerConf, ReadsThePasswordFromItsFile) {
  const PasswordFile file("s3cret \r\n");

  const ConfHandle conf = producer_conf({.password_file = file.path()});

  EXPECT_EQ(value_of(conf, "sasl.password"), "s3cret ");
}

TEST(ProducerConf, RefusesAPasswordFileThatIsMissingEmptyOrLong) {
  const auto error_with = [](const std::string& path) {
    return config_error([&] { return producer_conf({.password_file = path}); });
  };
  EXPECT_THAT(error_with("/nonexistent/password"),
              AllOf(HasSubstr("kafka.password_file | "), HasSubstr("/nonexistent/password")));
  EXPECT_THAT(error_with(PasswordFile("").path()), HasSubstr("kafka.password_file | "));
  const PasswordFile blank("\nsecond");
  EXPECT_THAT(error_with(blank.path()), AllOf(HasSubstr("is empty"), Not(HasSubstr("second"))));
}

TEST(ProducerConf, NeverRepeatsASecret) {
  const PasswordFile two_lines("s3cret\nother\n");

  EXPECT_THAT(config_error([&] { return producer_conf({.password_file = two_lines.path()}); }),
              AllOf(HasSubstr("more than one line"), Not(HasSubstr("s3cret"))));
}

TEST(ProducerConf, RefusesTwoPasswords) {
  const PasswordFile file("a");

  EXPECT_THAT(config_error([&] {
                return producer_conf({.properties = {{"sasl.password", "s3cret"}}, .password_file = file.path()});
              }),
              AllOf(HasSubstr("kafka.password_file | "), Not(HasSubstr("s3cret"))));
}

TEST(ConsumerConf, HoldsWhatThePromisesRestOn) {
  const ConfHandle conf = consumer_conf(consumer_options());

  EXPECT_EQ(value_of(conf, "group.id"), "shipping");
  EXPECT_EQ(value_of(conf, "enable.auto.commit"), "false");
  EXPECT_EQ(value_of(conf, "enable.auto.offset.store"), "false");
  EXPECT_EQ(value_of(conf, "auto.offset.reset"), "error");
  EXPECT_EQ(value_of(conf, "allow.auto.create.topics"), "false");
  EXPECT_EQ(value_of(conf, "partition.assignment.strategy"), "range,roundrobin");
  EXPECT_EQ(value_of(conf, "isolation.level"), "read_committed");
  EXPECT_EQ(value_of(conf, "check.crcs"), "true");
}

TEST(ConsumerConf, FollowsItsTimeoutsAndLimits) {
  auto options = consumer_options();
  options.session_timeout = 3s;
  options.max_poll_interval = 60s;
  options.instance_id = "host-1";
  options.prefetch_bytes = 256 << 10;

  const ConfHandle conf = consumer_conf(options);

  EXPECT_EQ(value_of(conf, "session.timeout.ms"), "3000");
  EXPECT_EQ(value_of(conf, "heartbeat.interval.ms"), "1000");
  EXPECT_EQ(value_of(conf, "max.poll.interval.ms"), "60000");
  EXPECT_EQ(value_of(conf, "group.instance.id"), "host-1");
  EXPECT_EQ(value_of(conf, "queued.max.messages.kbytes"), "256");
  EXPECT_EQ(value_of(conf, "fetch.max.bytes"), "131072");
}

TEST(ConsumerConf, TakesItsLimitsToBothEnds) {
  for (std::size_t bytes : {std::size_t{64} << 10, std::size_t{1} << 30}) {
    auto options = consumer_options();
    options.prefetch_bytes = bytes;
    EXPECT_NO_THROW(Consumer{options});
  }
}

TEST(ConsumerConf, LeavesIsolationToTheUser) {
  const ConfHandle conf = consumer_conf(consumer_options({{"isolation.level", "read_uncommitted"}}));

  EXPECT_EQ(value_of(conf, "isolation.level"), "read_uncommitted");
}

TEST(ConsumerConf, RefusesToLoseItsPromisesAndSaysWhy) {
  for (const char* name :
       {"group.id", "group.instance.id", "enable.auto.commit", "auto.commit.enable", "enable.auto.offset.store",
        "auto.offset.reset", "allow.auto.create.topics", "session.timeout.ms", "heartbeat.interval.ms",
        "max.poll.interval.ms", "queued.max.messages.kbytes", "bootstrap.servers", "metadata.broker.list"}) {
    EXPECT_THAT(consumer_error(consumer_options({{name, "1"}})),
                AllOf(HasSubstr("kafka.properties." + std::string(name) + " | "), HasSubstr("cannot be set here: ")));
  }
}

TEST(ConsumerConf, RefusesCooperativeAssignors) {
  for (const char* list : {"cooperative-sticky", "range,cooperative-sticky"}) {
    EXPECT_THAT(consumer_error(consumer_options({{"partition.assignment.strategy", list}})),
                AllOf(HasSubstr("kafka.properties.partition.assignment.strategy | "), HasSubstr("2.10")));
  }
  EXPECT_NO_THROW((void)consumer_conf(consumer_options({{"partition.assignment.strategy", "roundrobin"}})));
}

TEST(ConsumerConf, RefusesGroupsAndTopicsThatCannotBe) {
  auto options = consumer_options();
  for (const char* group : {"", "a b", "gr\xc3\xbc"}) {
    options.group = group;
    EXPECT_THAT(consumer_error(options), HasSubstr("kafka.group | "));
  }
  options.group = std::string(121, 'g');
  EXPECT_THAT(consumer_error(options), HasSubstr("kafka.group | "));
  options.group = "g";
  for (const std::vector<std::string>& topics :
       {std::vector<std::string>{}, {""}, {"^orders.*"}, {".."}, {std::string(250, 't')}}) {
    options.topics = topics;
    EXPECT_THAT(consumer_error(options), HasSubstr("kafka.topics | "));
  }
}

TEST(ConsumerConf, RefusesAPollIntervalBelowTheSessionTimeout) {
  auto options = consumer_options();
  options.max_poll_interval = 44s;

  EXPECT_THAT(consumer_error(options), HasSubstr("kafka.max_poll_interval | "));
}

TEST(MakeClient, NamesWhatDoesNotFitTogether) {
  EXPECT_THAT(config_error([] {
                return std::make_unique<Producer>(
                    ProducerOptions{.properties = {{"max.in.flight.requests.per.connection", "6"}}});
              }),
              AllOf(HasSubstr("kafka.properties | "), HasSubstr("max.in.flight")));
  EXPECT_THAT(config_error([] {
                return std::make_unique<Producer>(ProducerOptions{
                    .properties = {{"security.protocol", "ssl"}, {"ssl.ca.location", "/nonexistent/ca.pem"}}});
              }),
              HasSubstr("ssl.ca.location"));
}

}  // namespace
}  // namespace oncemark::kafka
