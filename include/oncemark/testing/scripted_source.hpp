#pragma once

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include <oncemark/message/ports.hpp>

namespace oncemark::testing {

/// A Source that hands out the records a test gives it and remembers what was committed.
///
/// Shape:   one assignment of all partitions at the first poll; revoke_all() and assign_all() script rebalances,
///          which happen inside the next poll, on the polling thread, as a broker's would.
/// Threads: the script's calls and the look-ups from any thread; the Source members from the runner's.
/// Errors:  poll() throws what fail_next_poll() was given.
class ScriptedSource final : public Source {
 public:
  explicit ScriptedSource(std::string group = "shipping", std::vector<std::string> topics = {"orders"},
                          std::int32_t partitions = 1)
      : group_(std::move(group)), topics_(std::move(topics)), partitions_per_topic_(partitions) {}

  void add(Record record) {
    const std::lock_guard lock(mutex_);
    log_.push_back(std::move(record));
  }
  void revoke_all(bool lost = false) { script(lost ? Event::lose : Event::revoke); }
  void assign_all() { script(Event::assign); }
  void fail_next_poll(std::exception_ptr error) {
    const std::lock_guard lock(mutex_);
    poll_error_ = std::move(error);
  }

  /// The position committed last; -1 when there is none.
  [[nodiscard]] std::int64_t committed(const std::string& topic, std::int32_t partition = 0) const {
    const std::lock_guard lock(mutex_);
    const auto found = committed_.find({topic, partition});
    return found == committed_.end() ? -1 : found->second;
  }
  /// Waits until a position of at least `offset` was committed; false after 10 s.
  [[nodiscard]] bool wait_for_commit(const std::string& topic, std::int64_t offset, std::int32_t partition = 0) const {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds(10), [&] {
      const auto found = committed_.find({topic, partition});
      return found != committed_.end() && found->second >= offset;
    });
  }
  /// Whether the last poll had no room for records.
  [[nodiscard]] bool is_held_off() const {
    const std::lock_guard lock(mutex_);
    return is_held_off_;
  }
  [[nodiscard]] std::vector<TopicNeed> needs() const {
    const std::lock_guard lock(mutex_);
    return needs_;
  }
  [[nodiscard]] bool is_closed() const {
    const std::lock_guard lock(mutex_);
    return is_closed_;
  }

  [[nodiscard]] const std::string& group() const override { return group_; }
  [[nodiscard]] const std::vector<std::string>& topics() const override { return topics_; }

  void subscribe(const std::vector<TopicNeed>& needs, RebalanceListener& listener) override {
    const std::lock_guard lock(mutex_);
    needs_ = needs;
    listener_ = &listener;
    events_.push_front(Event::assign);
  }

  [[nodiscard]] std::vector<Record> poll(std::chrono::milliseconds wait, std::size_t max) override {
    std::unique_lock lock(mutex_);
    if (poll_error_) std::rethrow_exception(std::exchange(poll_error_, nullptr));
    if (events_.empty()) changed_.wait_for(lock, std::min(wait, std::chrono::milliseconds(2)));
    while (!events_.empty()) {
      const Event event = events_.front();
      events_.pop_front();
      lock.unlock();
      happen(event);
      lock.lock();
    }
    std::vector<Record> records;
    is_held_off_ = max == 0;
    if (!is_assigned_) return records;
    while (next_ < log_.size() && records.size() < max) records.push_back(log_[next_++]);
    return records;
  }

  void commit(const std::vector<Position>& next) override {
    {
      const std::lock_guard lock(mutex_);
      for (const Position& position : next) committed_[position.topic_partition()] = position.offset;
    }
    changed_.notify_all();
  }

  void close() override {
    happen(Event::revoke);
    const std::lock_guard lock(mutex_);
    is_closed_ = true;
  }

 private:
  enum class Event { assign, revoke, lose };

  void script(Event event) {
    const std::lock_guard lock(mutex_);
    events_.push_back(event);
  }

  void happen(Event event) {
    std::vector<TopicPartition> partitions;
    RebalanceListener* listener = nullptr;
    {
      const std::lock_guard lock(mutex_);
      const bool assigns = event == Event::assign;
      if (listener_ == nullptr || is_assigned_ == assigns) return;
      is_assigned_ = assigns;
      listener = listener_;
      std::vector<std::string> all = topics_;
      for (const TopicNeed& need : needs_) {
        if (need.subscribe) all.push_back(need.topic);
      }
      for (const std::string& topic : all) {
        for (std::int32_t p = 0; p < partitions_per_topic_; ++p) partitions.push_back({topic, p});
      }
      if (assigns) rewind();
    }
    if (event == Event::assign) {
      listener->assigned(partitions);
    } else {
      listener->revoked(partitions, event == Event::lose);
    }
    changed_.notify_all();
  }

  /// Back to the first record that is not below its partition's committed position.
  void rewind() {
    next_ = 0;
    std::erase_if(log_, [&](const Record& record) {
      const auto found = committed_.find(record.position.topic_partition());
      return found != committed_.end() && record.position.offset < found->second;
    });
  }

  const std::string group_;
  const std::vector<std::string> topics_;
  const std::int32_t partitions_per_topic_;
  mutable std::mutex mutex_;
  mutable std::condition_variable changed_;
  std::vector<Record> log_;  // guarded by mutex_, like all below
  std::size_t next_ = 0;
  std::deque<Event> events_;
  std::map<TopicPartition, std::int64_t> committed_;
  std::vector<TopicNeed> needs_;
  RebalanceListener* listener_ = nullptr;
  std::exception_ptr poll_error_;
  bool is_assigned_ = false;
  bool is_held_off_ = false;
  bool is_closed_ = false;
};

}  // namespace oncemark::testing
