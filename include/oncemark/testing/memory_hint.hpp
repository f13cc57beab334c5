#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <set>
#include <span>
#include <string>
#include <tuple>
#include <vector>

#include <oncemark/inbox/hint.hpp>

namespace oncemark::testing {

/// An inbox::SeenHint in memory that can be made to lie. For unit tests.
///
/// Shape:   remembers what it is told, at once; lie_about() makes it call a message done that never was.
/// Threads: any.
/// Errors:  none.
class MemoryHint final : public inbox::SeenHint {
 public:
  [[nodiscard]] std::uint64_t epoch() const noexcept override {
    const std::lock_guard lock(mutex_);
    return epoch_;
  }
  [[nodiscard]] std::vector<bool> seen(const std::string& consumer,
                                       std::span<const inbox::SeenMark> marks) noexcept override {
    const std::lock_guard lock(mutex_);
    if (epoch_ == 0) return {};
    ++asked_;
    std::vector<bool> hits;
    for (const inbox::SeenMark& mark : marks) {
      const auto found = known_.find({epoch_, consumer, std::string(mark.business_key)});
      hits.push_back(lies_.contains(std::string(mark.business_key)) ||
                     (found != known_.end() && found->second == mark.payload_hash));
    }
    return hits;
  }
  void remember(const std::string& consumer, std::uint64_t epoch,
                std::span<const inbox::SeenMark> marks) noexcept override {
    const std::lock_guard lock(mutex_);
    if (epoch == 0) return;
    for (const inbox::SeenMark& mark : marks)
      known_[{epoch, consumer, std::string(mark.business_key)}] = mark.payload_hash;
  }

  [[nodiscard]] bool is_in_memory() const noexcept override { return true; }

  void lie_about(const std::string& business_key) {
    const std::lock_guard lock(mutex_);
    lies_.emplace(business_key);
  }
  /// What it knows belongs to the epoch it was remembered in; 0 is an unknown one.
  void set_epoch(std::uint64_t epoch) {
    const std::lock_guard lock(mutex_);
    epoch_ = epoch;
  }
  /// Whether this is remembered in the present epoch.
  [[nodiscard]] bool knows(const std::string& consumer, const std::string& business_key) const {
    const std::lock_guard lock(mutex_);
    return known_.contains({epoch_, consumer, business_key});
  }
  /// How many groups it was asked about.
  [[nodiscard]] int asked() const {
    const std::lock_guard lock(mutex_);
    return asked_;
  }

 private:
  mutable std::mutex mutex_;
  std::map<std::tuple<std::uint64_t, std::string, std::string>, std::uint64_t> known_;  // guarded by mutex_
  std::set<std::string> lies_;                                                          // guarded by mutex_
  std::uint64_t epoch_ = 1;                                                             // guarded by mutex_
  int asked_ = 0;                                                                       // guarded by mutex_
};

}  // namespace oncemark::testing
