#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <oncemark/kafka/consumer.hpp>
#include <oncemark/kafka/producer.hpp>

#include "support/eventually.hpp"

namespace oncemark::kafka {

/// Remembers what its consumer has.
struct Listener final : RebalanceListener {
  void assigned(const std::vector<TopicPartition>& partitions) override {
    has = partitions;
    ++times_assigned;
    if (on_assigned) on_assigned();
  }
  void revoked(const std::vector<TopicPartition>& partitions, bool was_lost) override {
    EXPECT_EQ(partitions, has);
    lost = was_lost;
    ++times_revoked;
    if (on_revoked) on_revoked();
    has.clear();
  }
  std::vector<TopicPartition> has;
  bool lost = false;
  int times_assigned = 0;
  int times_revoked = 0;
  std::function<void()> on_assigned;
  std::function<void()> on_revoked;
};

/// Sends all and collects all reports; reports[i] is that of records[i].
inline std::vector<Delivery> send_all(Producer& producer, const std::vector<OutgoingRecord>& records) {
  std::vector<Delivery> reports(records.size());
  std::size_t missing = records.size();
  const auto collect = [&](std::chrono::milliseconds wait) {
    for (Delivery& report : producer.deliveries(wait)) {
      reports.at(report.token) = report;
      --missing;
    }
  };
  for (std::size_t i = 0; i < records.size(); ++i) {
    while (producer.send(records[i], i) == Sent::queue_full) collect(std::chrono::milliseconds(10));
  }
  EXPECT_TRUE(testing::eventually(std::chrono::seconds(30), [&] {
    collect(std::chrono::milliseconds(100));
    return missing == 0;
  }));
  return reports;
}

/// Puts payloads on a topic, all with the same key.
inline void produce(const std::string& brokers, const std::string& topic, const std::vector<std::string>& payloads) {
  Producer producer({.brokers = brokers, .linger = std::chrono::milliseconds(0)});
  std::vector<OutgoingRecord> records;
  for (const std::string& payload : payloads) {
    records.push_back({.topic = topic, .key = "k", .payload = payload, .headers = {{"h", nullptr}}});
  }
  for (const Delivery& report : send_all(producer, records)) {
    ASSERT_EQ(report.status, DeliveryStatus::acked) << report.error;
  }
}

/// Polls until there are `count` payloads.
inline std::vector<std::string> read(Consumer& consumer, std::size_t count) {
  std::vector<std::string> payloads;
  EXPECT_TRUE(testing::eventually(std::chrono::seconds(30),
                                  [&] {
                                    for (const Record& record : consumer.poll(std::chrono::milliseconds(20), 100)) {
                                      payloads.push_back(record.payload.str());
                                    }
                                    return payloads.size() >= count;
                                  }))
      << "after " << payloads.size();
  return payloads;
}

/// Polls until `done`; nothing may be read meanwhile.
template <typename Done>
void poll_until(Consumer& consumer, Done&& done) {
  EXPECT_TRUE(testing::eventually(std::chrono::seconds(30), [&] {
    EXPECT_THAT(consumer.poll(std::chrono::milliseconds(10), 1), ::testing::IsEmpty());
    return done();
  }));
}

/// The text of the exception of type Thrown that polling ends in.
template <typename Thrown>
Thrown poll_until_it_throws(Consumer& consumer) {
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  while (std::chrono::steady_clock::now() < until) {
    try {
      (void)consumer.poll(std::chrono::milliseconds(10), 100);
    } catch (const Thrown& error) {
      return error;
    }
  }
  throw std::logic_error("polling threw nothing");
}

}  // namespace oncemark::kafka
