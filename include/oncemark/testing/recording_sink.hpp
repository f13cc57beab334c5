#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <oncemark/message/ports.hpp>

namespace oncemark::testing {

/// How a RecordingSink reports a record.
enum class Answer {
  ack,
  refuse,
  refuse_topic,  ///< as for a topic that is missing or forbidden
  fail,
  silence,  ///< no report, until another answer is set: a partition without a leader, or a broker that is down
};

/// A Sink without a broker: keeps what it is given and answers as it is told.
///
///   RecordingSink broker;
///   broker.answer_key("k1", Answer::refuse, 2);   // twice, then as everything else
///   broker.answer_topic("lost", Answer::silence);
///
/// Shape:   an answer for a key goes before one for a topic, and that before the one for all, which is ack. A record
///          is answered when deliveries() is called, so that everything handed over between two calls is one batch.
/// Threads: the sending thread uses it as a Sink; everything else may be called from any thread meanwhile.
/// Errors:  none.
class RecordingSink final : public Sink {
 public:
  static constexpr int kAlways = std::numeric_limits<int>::max();

  void answer_all(Answer answer) {
    const std::lock_guard lock(mutex_);
    all_ = answer;
    changed_.notify_all();
  }
  void answer_topic(const std::string& topic, Answer answer, int times = kAlways) {
    const std::lock_guard lock(mutex_);
    topics_[topic] = {answer, times};
    changed_.notify_all();
  }
  void answer_key(const Bytes& key, Answer answer, int times = kAlways) {
    const std::lock_guard lock(mutex_);
    keys_[key] = {answer, times};
    changed_.notify_all();
  }
  /// As brokers do: with one record refused, the others of its topic in the same batch are refused as well.
  void refuse_whole_batches() {
    const std::lock_guard lock(mutex_);
    refuses_whole_batches_ = true;
  }
  /// A record with more bytes than that, key, payload and headers together, is refused as too large.
  void set_max_record(std::size_t bytes) {
    const std::lock_guard lock(mutex_);
    max_record_ = bytes;
  }
  /// More records in flight than that, and the queue is full.
  void set_capacity(std::size_t records) {
    const std::lock_guard lock(mutex_);
    capacity_ = records;
  }

  /// What lies on the topics: the acked records in the order of their acks.
  [[nodiscard]] std::vector<OutgoingRecord> acked() const {
    const std::lock_guard lock(mutex_);
    return acked_;
  }
  /// Every record that was handed over, in order, whatever became of it.
  [[nodiscard]] std::vector<OutgoingRecord> handed_over() const {
    const std::lock_guard lock(mutex_);
    return handed_over_;
  }
  [[nodiscard]] std::size_t acked_count() const {
    const std::lock_guard lock(mutex_);
    return acked_.size();
  }
  [[nodiscard]] std::size_t handed_over_count() const {
    const std::lock_guard lock(mutex_);
    return handed_over_.size();
  }
  [[nodiscard]] std::size_t in_flight() const {
    const std::lock_guard lock(mutex_);
    return in_flight_.size();
  }
  [[nodiscard]] int discards() const {
    const std::lock_guard lock(mutex_);
    return discards_;
  }

  [[nodiscard]] Sent send(const OutgoingRecord& record, std::uint64_t token) override {
    const std::lock_guard lock(mutex_);
    if (in_flight_.size() >= capacity_) return Sent::queue_full;
    handed_over_.push_back(record);
    in_flight_.push_back({record, token});
    return Sent::accepted;
  }

  [[nodiscard]] std::vector<Delivery> deliveries(std::chrono::milliseconds wait) override {
    const auto deadline = std::chrono::steady_clock::now() + wait;
    std::unique_lock lock(mutex_);
    for (;;) {
      std::vector<Delivery> reports = answer_batch();
      if (!reports.empty()) return reports;
      if (changed_.wait_until(lock, deadline) == std::cv_status::timeout) return {};
    }
  }

  void discard() override {
    const std::lock_guard lock(mutex_);
    in_flight_.clear();
    ++discards_;
  }

 private:
  struct Rule {
    Answer answer = Answer::ack;
    int times = 0;
  };
  struct InFlight {
    OutgoingRecord record;
    std::uint64_t token = 0;
  };

  template <typename Rules, typename Name>
  static Rule* active(Rules& rules, const Name& name) {
    const auto found = rules.find(name);
    return found != rules.end() && found->second.times > 0 ? &found->second : nullptr;
  }

  static std::size_t size_of(const OutgoingRecord& record) {
    std::size_t bytes = record.key.size() + record.payload.size();
    for (const Header& header : record.headers) bytes += header.name.size() + header.value.size();
    return bytes;
  }

  Answer answer_for(const OutgoingRecord& record) {
    Rule* rule = active(keys_, record.key);
    if (rule == nullptr) rule = active(topics_, record.topic);
    if (rule == nullptr) return all_;
    if (rule->answer != Answer::silence && rule->times != kAlways) --rule->times;
    return rule->answer;
  }

  std::vector<Delivery> answer_batch() {
    std::vector<std::pair<InFlight, Answer>> batch;
    std::set<std::string> refused_topics;
    for (InFlight& sent : std::exchange(in_flight_, {})) {
      const Answer answer = size_of(sent.record) > max_record_ ? Answer::refuse : answer_for(sent.record);
      if (answer == Answer::refuse || answer == Answer::refuse_topic) refused_topics.insert(sent.record.topic);
      batch.emplace_back(std::move(sent), answer);
    }
    std::vector<Delivery> reports;
    for (auto& [sent, answer] : batch) {
      if (answer == Answer::silence) {
        in_flight_.push_back(std::move(sent));
      } else if (answer == Answer::fail) {
        reports.push_back({sent.token, DeliveryStatus::failed, "made to fail"});
      } else if (size_of(sent.record) > max_record_) {
        reports.push_back({sent.token, DeliveryStatus::refused, "made to be too large", Refusal::too_large});
      } else if (answer == Answer::refuse) {
        reports.push_back({sent.token, DeliveryStatus::refused, "made to be refused"});
      } else if (answer == Answer::refuse_topic) {
        reports.push_back({sent.token, DeliveryStatus::refused, "made to have no topic", Refusal::topic});
      } else if (refuses_whole_batches_ && refused_topics.contains(sent.record.topic)) {
        reports.push_back({sent.token, DeliveryStatus::refused, "refused with its batch"});
      } else {
        reports.push_back({sent.token, DeliveryStatus::acked, {}});
        acked_.push_back(std::move(sent.record));
      }
    }
    return reports;
  }

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  // All below is guarded by mutex_.
  Answer all_ = Answer::ack;
  std::map<std::string, Rule> topics_;
  std::map<Bytes, Rule> keys_;
  bool refuses_whole_batches_ = false;
  std::size_t max_record_ = std::numeric_limits<std::size_t>::max();
  std::size_t capacity_ = std::numeric_limits<std::size_t>::max();
  std::vector<InFlight> in_flight_;
  std::vector<OutgoingRecord> handed_over_;
  std::vector<OutgoingRecord> acked_;
  int discards_ = 0;
};

}  // namespace oncemark::testing
