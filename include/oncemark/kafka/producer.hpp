#pragma once

#include <memory>

#include <oncemark/kafka/settings.hpp>
#include <oncemark/message/ports.hpp>

namespace oncemark::kafka {

/// Sends records: idempotent, acks=all, partitioner murmur2_random (keys meet those of Java producers; a null key is
/// spread at random, an empty key is a key).
///
/// Shape:   a Sink. message.timeout.ms is infinite: only the broker's answer or discard() ends a record's wait, so
///          that a time-out can neither leave a gap nor invert the order.
/// Threads: one owner thread calls its members; librdkafka's own threads stay inside.
/// Errors:  the constructor throws ConfigError for properties. After a fatal librdkafka error what was in flight is
///          reported as failed and the next send builds a new client.
/// Crash:   see Sink.
class Producer final : public Sink {
 public:
  explicit Producer(ProducerOptions options);
  ~Producer() override;
  Producer(const Producer&) = delete;
  Producer& operator=(const Producer&) = delete;

  [[nodiscard]] Sent send(const OutgoingRecord& record, std::uint64_t token) override;
  [[nodiscard]] std::vector<Delivery> deliveries(std::chrono::milliseconds wait) override;
  void discard() override;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace oncemark::kafka
