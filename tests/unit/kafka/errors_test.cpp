#include <oncemark/kafka/errors.hpp>

#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <librdkafka/rdkafka.h>

#include "kafka/failure.hpp"

namespace oncemark::kafka {
namespace {

using ::testing::HasSubstr;

TEST(KafkaErrors, OutagesAreUnavailable) {
  for (int code : {RD_KAFKA_RESP_ERR__TRANSPORT, RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN, RD_KAFKA_RESP_ERR__TIMED_OUT,
                   RD_KAFKA_RESP_ERR__MSG_TIMED_OUT, RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS,
                   RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE, RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR}) {
    EXPECT_EQ(classify(code), ErrorKind::unavailable) << rd_kafka_err2name(static_cast<rd_kafka_resp_err_t>(code));
    EXPECT_FALSE(is_about_the_record(code)) << rd_kafka_err2name(static_cast<rd_kafka_resp_err_t>(code));
  }
}

TEST(KafkaErrors, WhatABrokerRefusesInARecordIsAboutTheRecord) {
  for (int code :
       {RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE, RD_KAFKA_RESP_ERR_INVALID_MSG, RD_KAFKA_RESP_ERR_INVALID_MSG_SIZE,
        RD_KAFKA_RESP_ERR_INVALID_RECORD, RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP, RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE,
        RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART,
        RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC, RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION, RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION,
        RD_KAFKA_RESP_ERR_POLICY_VIOLATION, RD_KAFKA_RESP_ERR_UNSUPPORTED_FOR_MESSAGE_FORMAT}) {
    EXPECT_TRUE(is_about_the_record(code)) << rd_kafka_err2name(static_cast<rd_kafka_resp_err_t>(code));
    EXPECT_FALSE(failure("sending", code).retryable());
  }
}

TEST(KafkaErrors, WhatWouldRefuseEveryRecordIsNotAboutOne) {
  for (int code :
       {RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED, RD_KAFKA_RESP_ERR__AUTHENTICATION,
        RD_KAFKA_RESP_ERR_UNSUPPORTED_COMPRESSION_TYPE, RD_KAFKA_RESP_ERR_INVALID_REQUIRED_ACKS,
        RD_KAFKA_RESP_ERR__FATAL, RD_KAFKA_RESP_ERR__PURGE_QUEUE, RD_KAFKA_RESP_ERR__PURGE_INFLIGHT,
        RD_KAFKA_RESP_ERR__QUEUE_FULL, RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER, RD_KAFKA_RESP_ERR_UNKNOWN}) {
    EXPECT_FALSE(is_about_the_record(code)) << rd_kafka_err2name(static_cast<rd_kafka_resp_err_t>(code));
  }
}

TEST(KafkaErrors, RightsNamesAndSettingsAreMisuse) {
  for (int code : {RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED, RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED,
                   RD_KAFKA_RESP_ERR__AUTHENTICATION, RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART,
                   RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID, RD_KAFKA_RESP_ERR_INVALID_REPLICATION_FACTOR,
                   RD_KAFKA_RESP_ERR_INCONSISTENT_GROUP_PROTOCOL}) {
    EXPECT_EQ(classify(code), ErrorKind::misuse) << rd_kafka_err2name(static_cast<rd_kafka_resp_err_t>(code));
  }
}

TEST(KafkaErrors, APositionOutsideTheLogIsPermanent) {
  EXPECT_EQ(classify(RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE), ErrorKind::permanent);
  EXPECT_EQ(classify(RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET), ErrorKind::permanent);
}

TEST(KafkaErrors, UnknownCodesAreTransient) {
  EXPECT_EQ(classify(12'345), ErrorKind::transient);
  EXPECT_EQ(cure(12'345), "");
  EXPECT_EQ(classify(RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS), ErrorKind::transient);
}

TEST(KafkaErrors, TheTextNamesWhatWasTriedTheCodeAndTheCure) {
  const KafkaError error = failure("creating topic dlq.a.b", RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED);

  EXPECT_EQ(error.code(), 29);
  EXPECT_EQ(error.name(), "TOPIC_AUTHORIZATION_FAILED");
  EXPECT_EQ(error.error_class(), "kafka.TOPIC_AUTHORIZATION_FAILED");
  EXPECT_FALSE(error.is_fatal());
  EXPECT_EQ(error.what(),
            std::string("creating topic dlq.a.b: TOPIC_AUTHORIZATION_FAILED (Broker: Topic authorization failed); "
                        "grant the client's principal its right on the topic"));
}

TEST(KafkaErrors, LocalCodesKeepTheirUnderscore) {
  EXPECT_EQ(failure("x", RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN).name(), "_ALL_BROKERS_DOWN");
}

}  // namespace
}  // namespace oncemark::kafka
