#pragma once

#include <chrono>
#include <exception>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include <oncemark/kafka/settings.hpp>
#include <oncemark/message/ports.hpp>

#include "kafka/admin_client.hpp"
#include "kafka/client_log.hpp"
#include "kafka/handles.hpp"
#include "kafka/start.hpp"

namespace oncemark::kafka {

/// A consumer's place in its group: which partitions it has, and where each starts.
///
/// Shape:   a partition is either pending (the group gave it to us, its start is not known yet, nothing is read) or
///          assigned (the listener knows it). What cannot be found out now is tried again at every poll.
/// Threads: the thread that polls; librdkafka calls on_rebalance() on it too.
/// Errors:  what the listener or a rule throws inside a callback is kept for throw_kept_error().
class Membership final : public ClientLog {
 public:
  explicit Membership(const ConsumerOptions& options);

  /// Registers the callback that leads here.
  void attach_to(rd_kafka_conf_t* conf) noexcept;
  void set_client(rd_kafka_t* client) noexcept { client_ = client; }
  /// Where the records of assigned partitions go.
  void set_records(rd_kafka_queue_t* records) noexcept { records_ = records; }
  /// Leads fetched records there. To be called at every poll: librdkafka forgets it when it stops fetching, which
  /// happens some time after a new assignment of a partition that we had.
  void lead_to_records() noexcept;
  void set_listener(RebalanceListener* listener) noexcept { listener_ = listener; }

  void on_rebalance(rd_kafka_resp_err_t event, const rd_kafka_topic_partition_list_t* partitions) noexcept;
  /// Finds out again where pending partitions start. Throws what will not heal.
  void retry_pending();
  /// A partition cannot be read on from where it is (out of range, damaged): drains, and reads everything again from
  /// the committed positions. Throws KafkaError{permanent} when the same place fails again and again.
  void read_again(const Position& place, int code, const std::string& text);
  /// Tells the listener that what it has is lost: nothing else will.
  void lose_all();

  void commit(const std::vector<Position>& next);

  /// Records handed over in the running poll. Those of a revoked partition are taken back: its next owner, who may be
  /// us, reads them again.
  std::vector<Record>& read() noexcept { return read_; }
  void keep_error(std::exception_ptr error) noexcept;
  void throw_kept_error();
  /// How often a callback has run.
  [[nodiscard]] std::size_t rebalances() const noexcept { return rebalances_; }

 private:
  struct Trouble {
    std::int64_t offset = 0;
    int times = 0;
  };
  void take(const std::vector<TopicPartition>& partitions);
  void let_go(bool lost);
  void tell_revoked(bool lost);
  void start_pending(std::chrono::milliseconds bound);
  void read_nothing() noexcept;
  [[nodiscard]] Watermarks all_records(const TopicPartition& partition) const;
  [[nodiscard]] bool is_assigned(const TopicPartition& partition) const;

  const ConsumerOptions options_;
  const StartRules rules_;
  rd_kafka_t* client_ = nullptr;
  rd_kafka_queue_t* records_ = nullptr;
  std::vector<QueueHandle> fetched_;  // of the assigned partitions
  RebalanceListener* listener_ = nullptr;
  std::vector<TopicPartition> pending_;
  std::vector<TopicPartition> assigned_;
  std::chrono::steady_clock::time_point next_retry_{};
  std::map<TopicPartition, Trouble> troubles_;
  std::vector<Record> read_;
  std::exception_ptr error_;
  std::size_t rebalances_ = 0;
};

}  // namespace oncemark::kafka
