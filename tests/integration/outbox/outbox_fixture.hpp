#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include <oncemark/mysql/pool.hpp>
#include <oncemark/outbox/relay.hpp>
#include <oncemark/outbox/writer.hpp>
#include <oncemark/testing/recording_sink.hpp>

#include "support/eventually.hpp"
#include "support/temp_schema.hpp"

namespace oncemark::outbox {

using namespace std::chrono_literals;
using testing::Answer;
using testing::eventually;
using testing::RecordingSink;

/// An outbox in a schema of its own.
class OutboxTest : public ::testing::Test {
 protected:
  /// Appends the drafts in one transaction.
  void put(const std::vector<Draft>& drafts) {
    pool_.transact([&](mysql::Transaction& tx) {
      for (const Draft& draft : drafts) append(tx, draft);
    });
  }
  /// `rows` drafts of each key, in turn; the payload is the number of the row within its key, from 1.
  void put_numbered(const std::vector<std::string>& keys, int rows, int first = 1) {
    std::vector<Draft> drafts;
    for (int i = first; i < first + rows; ++i) {
      for (const std::string& key : keys) drafts.push_back({.topic = "t", .key = key, .payload = std::to_string(i)});
    }
    put(drafts);
  }

  std::uint64_t execute(std::string_view sql) {
    return pool_.transact([&](mysql::Transaction& tx) { return tx.execute(sql); });
  }
  /// The only column of the only row, as text; "NULL" for NULL.
  std::string value(std::string_view sql) {
    return pool_.transact([&](mysql::Transaction& tx) {
      const auto text = tx.query_row("SELECT CAST((" + std::string(sql) + ") AS CHAR)")->get<Bytes>(0);
      return text.is_null() ? std::string("NULL") : text.str();
    });
  }
  std::uint64_t count(const std::string& condition) {
    return std::stoull(value("SELECT COUNT(*) FROM outbox_message WHERE " + condition));
  }
  [[nodiscard]] ::testing::AssertionResult all_sent(std::chrono::milliseconds limit = 20s) {
    return eventually(limit, [&] { return count("status <> 'sent'") == 0; });
  }

  /// A relay that does in milliseconds what takes seconds by default.
  static RelayOptions quick() {
    RelayOptions options;
    options.poll_interval = 5ms;
    options.max_poll_interval = 20ms;
    options.report_timeout = 300ms;
    options.backoff = {.initial = 50ms, .factor = 2.0, .cap = 400ms, .jitter = 0};
    return options;
  }

  testing::TempSchema schema_{testing::Tables::ours};
  mysql::Pool pool_{schema_.options()};
  RecordingSink broker_;
};

/// The payloads per key, in the order in which they lie on the topic.
inline std::map<std::string, std::vector<std::string>> by_key(const std::vector<OutgoingRecord>& records) {
  std::map<std::string, std::vector<std::string>> payloads;
  for (const OutgoingRecord& record : records) payloads[record.key.str()].push_back(record.payload.str());
  return payloads;
}

}  // namespace oncemark::outbox
