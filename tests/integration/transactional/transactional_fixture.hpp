#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <oncemark/mysql/pool.hpp>
#include <oncemark/testing/recording_sink.hpp>
#include <oncemark/testing/scripted_source.hpp>
#include <oncemark/transactional/check_back.hpp>
#include <oncemark/transactional/parked.hpp>
#include <oncemark/transactional/sender.hpp>

#include "support/eventually.hpp"
#include "support/temp_schema.hpp"

namespace oncemark::transactional {

using namespace std::chrono_literals;
using testing::Answer;
using testing::eventually;
using testing::RecordingSink;
using testing::ScriptedSource;

/// A sender and a check-back over a database, with doubles for the broker: half messages lie in `producer_side_` until
/// deliver_halves() brings them to the check-back.
class TransactionalTest : public ::testing::Test {
 protected:
  ~TransactionalTest() override { stop_checks(); }

  static SenderOptions sender_options() { return {.name = "shop", .first_check = 1ms, .half_timeout = 5s}; }
  static CheckBackOptions check_options() {
    return {.sender = "shop", .interval = 10ms, .max_checks = 3, .report_timeout = 500ms};
  }
  std::unique_ptr<Sender> make_sender(SenderOptions options = sender_options()) {
    return std::make_unique<Sender>(pool_, producer_side_, options);
  }
  static outbox::Draft draft(const std::string& id) {
    return {.topic = "orders", .key = "k", .payload = "p-" + id, .id = id};
  }

  void start_checks(Check check = {}, CheckBackOptions options = check_options()) {
    checks_ = std::make_unique<CheckBack>(pool_, source_, check_side_, std::map<std::string, std::string>{}, options,
                                          std::move(check));
    thread_ = std::jthread([this](const std::stop_token& stop) { checks_->run(stop); });
  }
  void stop_checks() {
    thread_.request_stop();
    if (thread_.joinable()) thread_.join();
  }

  /// Puts the half messages that both sides have written since the last call on the half topic.
  void deliver_halves() {
    bring(producer_side_, seen_of_producer_);
    bring(check_side_, seen_of_checks_);
  }
  /// The same all the time, until it is so.
  template <typename Predicate>
  [[nodiscard]] ::testing::AssertionResult comes_true(Predicate&& predicate) {
    return eventually(15s, [&] {
      deliver_halves();
      return predicate();
    });
  }

  /// Payloads of what consumers got from the sink.
  static std::vector<std::string> sent(const RecordingSink& sink) {
    std::vector<std::string> payloads;
    for (const OutgoingRecord& record : sink.acked()) {
      if (record.topic == "orders") payloads.push_back(record.payload.str());
    }
    return payloads;
  }
  std::string state_of(const std::string& id) {
    return pool_.transact([&](mysql::Transaction& tx) -> std::string {
      const auto row = tx.query_row("SELECT state FROM local_transaction WHERE message_id = ?", id);
      return row ? row->get<std::string>(0) : "none";
    });
  }
  std::uint64_t count(const std::string& what) {
    return pool_.transact(
        [&](mysql::Transaction& tx) { return tx.query_row("SELECT COUNT(*) FROM " + what)->get<std::uint64_t>(0); });
  }
  /// A half message whose producer died before its message was sent, having committed.
  void commit_and_die(const std::string& id) {
    producer_side_.answer_topic("orders", Answer::fail);
    (void)make_sender()->send(draft(id), [](mysql::Transaction&) {});
  }

  testing::TempSchema schema_{testing::Tables::ours};
  mysql::Pool pool_{schema_.options()};
  RecordingSink producer_side_;
  RecordingSink check_side_;
  ScriptedSource source_{"half.shop", {"half.shop"}};
  std::unique_ptr<CheckBack> checks_;

 private:
  void bring(const RecordingSink& sink, std::size_t& seen) {
    const std::vector<OutgoingRecord> acked = sink.acked();
    for (; seen < acked.size(); ++seen) {
      const OutgoingRecord& record = acked[seen];
      if (record.topic != "half.shop") continue;
      source_.add({.position = {record.topic, 0, next_offset_++},
                   .timestamp = Time(std::chrono::seconds(1'764'000'000)),
                   .key = record.key,
                   .payload = record.payload,
                   .headers = record.headers});
    }
  }

  std::size_t seen_of_producer_ = 0;
  std::size_t seen_of_checks_ = 0;
  std::int64_t next_offset_ = 0;
  std::jthread thread_;
};

}  // namespace oncemark::transactional
