#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <exception>
#include <functional>
#include <future>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include <oncemark/consume/runner.hpp>
#include <oncemark/core/error.hpp>

namespace oncemark::consume {

/// A Handler around a function; remembers what it was called with.
class FakeHandler final : public Handler {
 public:
  using Work = std::function<void(const Message&)>;
  explicit FakeHandler(Work work = [](const Message&) {}) : work_(std::move(work)) {}

  const std::string& consumer() const override { return consumer_; }
  void prepare() override {
    ++starts_;
    if (!may_start_) throw UnavailableError("the database is away");
  }
  void check_topics(const std::vector<std::string>& topics) const override {
    if (refuses_topics_) throw MisuseError("cannot tell " + topics.front() + " from others");
  }
  void identify(Message& message) const override {
    if (message.id == "no-key") throw PermanentError("no key");
    if (!message.has_id) throw MisuseError("no id");
    message.business_key = message.id;
  }
  Handled handle(std::span<const Message* const> group) override {
    {
      const std::lock_guard lock(mutex_);
      groups_.push_back(group.size());
      if (group.size() > 1 && group_failure_) return {.failure = group_failure_};
    }
    std::vector<Settled> results;
    for (const Message* message : group) {
      const auto begin = std::chrono::steady_clock::now();
      try {
        work_(*message);
        results.push_back({.outcome = message->id.starts_with("copy") ? Outcome::duplicate : Outcome::done,
                           .took = std::chrono::steady_clock::now() - begin});
        const std::lock_guard lock(mutex_);
        handled_.push_back(message->id);
      } catch (...) {
        const ErrorSummary error = summarize_current_exception();
        results.push_back({.failure = std::current_exception(),
                           .stage = error.error_class == "key_conflict" ? Stage::key : Stage::handler});
        if (error.is_infrastructure) break;
      }
    }
    return {.messages = std::move(results)};
  }
  std::vector<bool> known_done(std::span<const Message* const> messages) noexcept override {
    std::vector<bool> known;
    for (const Message* message : messages) known.push_back(message->id.starts_with("known"));
    return known;
  }
  bool is_reachable() noexcept override {
    ++probes_;
    return is_reachable_;
  }

  /// What every group of more than one message ends with from now on.
  void fail_groups(std::exception_ptr failure) {
    const std::lock_guard lock(mutex_);
    group_failure_ = std::move(failure);
  }
  std::size_t largest_group() const {
    const std::lock_guard lock(mutex_);
    return groups_.empty() ? 0 : std::ranges::max(groups_);
  }

  std::size_t last_group() const {
    const std::lock_guard lock(mutex_);
    return groups_.empty() ? 0 : groups_.back();
  }

  std::vector<std::string> handled() const {
    const std::lock_guard lock(mutex_);
    return handled_;
  }
  std::atomic<bool> is_reachable_{true};
  std::atomic<int> probes_{0};
  std::atomic<bool> may_start_{true};
  std::atomic<int> starts_{0};
  bool refuses_topics_ = false;

 private:
  const std::string consumer_ = "shipping";
  Work work_;
  mutable std::mutex mutex_;
  std::vector<std::string> handled_;
  std::vector<std::size_t> groups_;
  std::exception_ptr group_failure_;
};

/// A FailureSink that remembers what it was given, and can be told to fail first.
class FakeFailures final : public FailureSink {
 public:
  std::vector<TopicNeed> prepare(const std::string&, const std::string& group,
                                 const std::vector<std::string>& topics) override {
    return {{.topic = "retry." + group + "." + topics.front(), .like = topics.front(), .subscribe = true}};
  }
  Routed route(const Failure& failure) override {
    if (refusals_-- > 0) throw UnavailableError("the database is away");
    const std::lock_guard lock(mutex_);
    if (failure.tried_here < tries_here_) return Routed::again;
    routed_.push_back(failure.message.id + "/" + std::string(to_string(failure.stage)) + "/" +
                      failure.error.error_class);
    keys_.push_back(failure.message.business_key);
    return Routed::dead;
  }
  std::vector<std::string> routed() const {
    const std::lock_guard lock(mutex_);
    return routed_;
  }
  std::vector<std::string> keys() const {
    const std::lock_guard lock(mutex_);
    return keys_;
  }
  std::atomic<int> refusals_{0};
  std::atomic<int> tries_here_{0};

 private:
  mutable std::mutex mutex_;
  std::vector<std::string> routed_;
  std::vector<std::string> keys_;
};

inline RunnerOptions quick(std::size_t workers = 2) {
  return {.workers = workers,
          .commit_interval = std::chrono::milliseconds(1),
          .in_place = {.initial = std::chrono::milliseconds(1), .cap = std::chrono::milliseconds(2)}};
}

/// Runs a runner on a thread of its own until the end of the scope.
class Running {
 public:
  explicit Running(Runner& runner)
      : thread_([&runner, this](std::stop_token stop) {
          try {
            runner.run(stop);
            ended_.set_value();
          } catch (...) {
            ended_.set_exception(std::current_exception());
          }
        }) {}
  /// Waits for the end by itself; throws what run() threw.
  void wait() { future_.get(); }
  void stop() {
    thread_.request_stop();
    future_.get();
  }

 private:
  std::promise<void> ended_;
  std::future<void> future_ = ended_.get_future();
  std::jthread thread_;
};

}  // namespace oncemark::consume
