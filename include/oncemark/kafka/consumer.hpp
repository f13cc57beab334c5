#pragma once

#include <memory>

#include <oncemark/kafka/settings.hpp>
#include <oncemark/message/ports.hpp>

namespace oncemark::kafka {

/// Reads records of a consumer group: eager assignment (range, roundrobin), manual synchronous commits, no automatic
/// offset reset.
///
/// Shape:   a Source. When a partition is assigned its committed position is looked up: none → when_no_offset;
///          outside the log → when_out_of_range; both are logged, neither jumps silently.
///          Fetched records wait in a queue of this client's own, at most prefetch_bytes of them, apart from what
///          keeps the membership: a reader without room simply takes none. Pausing would throw them away each time.
/// Threads: one thread polls, commits and closes; rebalance callbacks run on it, inside poll() and close().
/// Errors:  the constructor throws ConfigError; poll() throws KafkaError{misuse} for authorisation and unknown source
///          topics, {permanent} by when_out_of_range = stop, {unavailable} when no broker could be reached for 30 s
///          at the start. Later outages are logged and waited for.
/// Source:  librdkafka 2.0.2: cooperative assignors lose the assignment on a commit (#4059), hence eager.
class Consumer final : public Source {
 public:
  explicit Consumer(ConsumerOptions options);
  ~Consumer() override;
  Consumer(const Consumer&) = delete;
  Consumer& operator=(const Consumer&) = delete;

  [[nodiscard]] const std::string& group() const override;
  [[nodiscard]] const std::vector<std::string>& topics() const override;
  void subscribe(const std::vector<TopicNeed>& needs, RebalanceListener& listener) override;
  [[nodiscard]] std::vector<Record> poll(std::chrono::milliseconds wait, std::size_t max) override;
  void commit(const std::vector<Position>& next) override;
  void close() override;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace oncemark::kafka
