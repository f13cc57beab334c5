#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <oncemark/core/clock.hpp>
#include <oncemark/message/ports.hpp>
#include <oncemark/mysql/pool.hpp>
#include <oncemark/outbox/relay.hpp>

namespace oncemark::outbox {

/// The key of an outbox row: its hash, which takes 8 bytes instead of up to a megabyte. Two keys with one hash wait
/// for each other now and then, and nothing worse. None: a null key, which has no order.
using KeyHash = std::optional<std::uint64_t>;
[[nodiscard]] KeyHash hash_of(const Bytes& message_key) noexcept;

struct FailingRow {
  std::uint64_t id = 0;
  bool is_due = false;
};

/// What a poll finds, all of it at one moment: rows of one key that were committed in order are not seen out of it.
struct Peek {
  std::vector<std::uint64_t> pending;  // ids of the shards asked for, ascending, at most the limit
  std::vector<FailingRow> failing;     // all of this relay, whatever their shard
  std::vector<std::uint64_t> due;      // waiting rows whose time has come, the longest due first, whatever their shard
};

struct RowKey {
  std::uint64_t id = 0;
  int shard = 0;
  KeyHash key;
};

/// A row with all that is needed to send it.
struct OutboxRow {
  std::uint64_t id = 0;
  KeyHash key;
  std::string message_id;
  int attempts = 0;
  bool is_failure = false;  // a retry or a dead letter: its record lies in another table too
  OutgoingRecord record;    // with om-message-id and om-event-time
  std::string defect;       // why it can never be sent, if so: its headers cannot be read
};

/// Completes the record of a row whose other fields are set: its headers as the column holds them, with our own.
void set_headers(OutboxRow& row, std::string_view encoded, Time event_time);

/// The statements of a relay.
///
/// Shape:   each statement is a transaction by itself, on a connection of the relay's own: a poll is one round trip,
///          and no handler that holds on to the pool keeps the relay waiting. Statements that name a few rows do so by
///          primary key; polls read only the index entries of unsent rows.
/// Threads: the relay's.
/// Errors:  MysqlError; after one that breaks the connection the next call makes a new one.
/// Crash:   each statement has happened or not.
class RelayRows final {
 public:
  RelayRows(mysql::Pool& pool, std::string relay) : pool_(pool), relay_(std::move(relay)) {}

  /// `known_failing`: about how many rows are failing, which must not crowd out those that wait.
  [[nodiscard]] Peek peek(const std::vector<int>& shards, std::size_t limit, std::size_t known_failing);
  /// Turns waiting rows that are due into pending ones. By id, because a scan would wait for rows not committed yet.
  void promote(const std::vector<std::uint64_t>& ids);
  /// Keys of those of the rows that still exist, by ascending id.
  [[nodiscard]] std::vector<RowKey> keys(const std::vector<std::uint64_t>& ids);
  /// Those of the rows that are still unsent, by ascending id.
  [[nodiscard]] std::vector<OutboxRow> read(const std::vector<std::uint64_t>& ids);

  void mark_sent(const std::vector<std::uint64_t>& ids);
  void remove(const std::vector<std::uint64_t>& ids);
  /// Of all rows that can be seen now, whatever their relay; 0: there are none.
  [[nodiscard]] std::uint64_t highest_id();
  /// Those of the rows that are pending, in the order given.
  [[nodiscard]] std::vector<std::uint64_t> still_pending(const std::vector<std::uint64_t>& ids);
  /// Marks (or removes) the rows and does what `also` does, in one transaction. Waits for rows whose transaction is in
  /// the binlog and not visible yet. `also` may run more than once.
  void settle_with(const std::vector<std::uint64_t>& ids, SentRows sent_rows,
                   const std::function<void(mysql::Session&)>& also);
  /// Makes the rows wait, and their keys with them.
  enum class Attempt { counted, not_counted };
  void mark_failing(const std::vector<std::uint64_t>& ids, std::chrono::milliseconds delay, const std::string& error,
                    Attempt attempt);
  void mark_dead(std::uint64_t id, const std::string& error);

 private:
  template <typename Work>
  auto with_connection(Work&& work);
  std::uint64_t execute(const std::string& sql, const std::vector<mysql::Param>& params);
  mysql::Rows query(const std::string& sql, const std::vector<mysql::Param>& params);

  mysql::Pool& pool_;
  const std::string relay_;
  std::unique_ptr<mysql::Connection> connection_;
  SteadyTime used_{};
  std::uint64_t highest_ = 0;  // with the mutant relay_by_max_id
};

}  // namespace oncemark::outbox
