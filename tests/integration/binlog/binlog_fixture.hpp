#pragma once

#include <array>
#include <memory>
#include <string>

#include <oncemark/binlog/relay.hpp>

#include "integration/outbox/outbox_fixture.hpp"

namespace oncemark::binlog {

using namespace std::chrono_literals;
using outbox::by_key;
using testing::Answer;
using testing::eventually;
using testing::RecordingSink;

/// An outbox in a schema of its own, and a relay that reads the server's binlog.
class BinlogRelayTest : public outbox::OutboxTest {
 protected:
  static RelayOptions quick() { return {.outbox = OutboxTest::quick()}; }

  bool is_mysql() { return value("SELECT VERSION()").find("MariaDB") == std::string::npos; }

  /// A statement outside of a transaction.
  void by_itself(const std::string& sql) { pool_.connect(60s)->control(sql); }

  /// Prepares an XA transaction of what `work(session)` does; its connection, for `XA COMMIT` or `XA ROLLBACK` of xid().
  template <typename Work>
  [[nodiscard]] std::unique_ptr<mysql::Connection> prepare_xa(Work&& work) {
    auto connection = pool_.connect(60s);
    connection->control("COMMIT");
    connection->control("SET autocommit = 1");
    connection->control("XA START " + xid());
    work(*connection);
    connection->control("XA END " + xid());
    connection->control("XA PREPARE " + xid());
    return connection;
  }
  [[nodiscard]] std::string xid() const { return "'" + schema_.name() + "'"; }

  /// It has its place, and what stood in the table is sent.
  [[nodiscard]] static ::testing::AssertionResult is_reading(const Relay& relay) {
    return eventually(10s,
                      [&] { return relay.counts().shards == outbox::kShards && !relay.counts().place.is_empty(); });
  }

  /// A row by hand, on a connection whose transaction the test controls.
  static void insert(mysql::Session& session, const std::string& key, const std::string& payload) {
    const std::array<mysql::Param, 4> params{key + payload, outbox::shard_of(key, {}), key, payload};
    session.execute(
        "INSERT INTO outbox_message (message_id, relay, shard, topic, message_key, event_time, payload, headers, "
        "status, "
        "available_at, created_at, sent_at) VALUES (?, 'main', ?, 't', ?, UTC_TIMESTAMP(6), ?, '[]', 'pending', "
        "UTC_TIMESTAMP(6), UTC_TIMESTAMP(6), UTC_TIMESTAMP(6))",
        params);
  }
};

}  // namespace oncemark::binlog
