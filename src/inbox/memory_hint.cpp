#include <oncemark/inbox/memory_hint.hpp>

#include <algorithm>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>

#include <oncemark/core/error.hpp>
#include <oncemark/core/loop.hpp>

#include "inbox/epoch_watch.hpp"

namespace oncemark::inbox {
namespace {

using namespace std::chrono_literals;
using std::chrono::steady_clock;

[[noreturn]] void reject(const std::string& field, const std::string& value, std::string_view rule) {
  throw ConfigError("MemoryHintOptions::" + field,
                    "MemoryHintOptions::" + field + " is " + value + "; it must be " + std::string(rule));
}

/// The business key as it is, not hashed: two that meet in a hash would hide a message. A consumer's name has no colon.
std::string key_of(std::string_view consumer, std::string_view business_key) {
  std::string key;
  key.reserve(consumer.size() + 1 + business_key.size());
  return key.append(consumer).append(":").append(business_key);
}

}  // namespace

void MemoryHintOptions::validate() const {
  if (max_marks < 2 || max_marks > 100'000'000) reject("max_marks", std::to_string(max_marks), "from 2 to 100000000");
  if (epoch_interval < 10ms || epoch_interval > 1h) {
    reject("epoch_interval", std::to_string(epoch_interval.count()) + " ms", "from 10 ms to 1 h");
  }
}

/// Two generations: what is used moves to the young one, and once that is full it becomes the old one, whose marks are
/// forgotten together.
class MemoryHint::Memory {
 public:
  Memory(mysql::Pool& pool, const MemoryHintOptions& options)
      : most_(options.max_marks / 2), watch_(pool, options.epoch_interval), loop_([this](const std::stop_token&) {
          const SteadyTime next = watch_.read_if_due();
          return std::max(std::chrono::ceil<std::chrono::milliseconds>(next - steady_clock::now()), 1ms);
        }) {}

  std::uint64_t epoch() const noexcept { return watch_.epoch(); }

  std::vector<bool> seen(const std::string& consumer, std::span<const SeenMark> marks) {
    const std::uint64_t now = epoch();
    if (now == 0) return {};
    std::vector<bool> hits(marks.size());
    const std::lock_guard lock(mutex_);
    if (epoch_ != now) return {};
    for (std::size_t i = 0; i < marks.size(); ++i) {
      hits[i] = find(key_of(consumer, marks[i].business_key)) == marks[i].payload_hash;
    }
    return hits;
  }

  void remember(const std::string& consumer, std::uint64_t epoch, std::span<const SeenMark> marks) {
    if (epoch == 0 || epoch != this->epoch()) return;
    const std::lock_guard lock(mutex_);
    if (epoch_ != epoch) {
      young_.clear();
      old_.clear();
      epoch_ = epoch;
    }
    for (const SeenMark& mark : marks) keep(key_of(consumer, mark.business_key), mark.payload_hash);
  }

 private:
  using Generation = std::unordered_map<std::string, std::uint64_t>;

  std::optional<std::uint64_t> find(const std::string& key) {
    if (const auto young = young_.find(key); young != young_.end()) return young->second;
    const auto old = old_.find(key);
    if (old == old_.end()) return std::nullopt;
    const std::uint64_t hash = old->second;
    keep(key, hash);
    return hash;
  }

  void keep(std::string key, std::uint64_t hash) {
    if (young_.size() >= most_ && !young_.contains(key)) {
      old_ = std::exchange(young_, {});
    }
    young_.insert_or_assign(std::move(key), hash);
  }

  const std::size_t most_;  // of one generation
  std::mutex mutex_;
  std::uint64_t epoch_ = 0;  // that the marks belong to; guarded by mutex_, like them
  Generation young_;
  Generation old_;
  EpochWatch watch_;
  Loop loop_;  // last: it uses what is above
};

MemoryHint::MemoryHint(mysql::Pool& pool, MemoryHintOptions options) {
  options.validate();
  memory_ = std::make_unique<Memory>(pool, options);
}

MemoryHint::~MemoryHint() = default;

std::uint64_t MemoryHint::epoch() const noexcept { return memory_->epoch(); }

std::vector<bool> MemoryHint::seen(const std::string& consumer, std::span<const SeenMark> marks) noexcept {
  return memory_->seen(consumer, marks);
}

void MemoryHint::remember(const std::string& consumer, std::uint64_t epoch, std::span<const SeenMark> marks) noexcept {
  memory_->remember(consumer, epoch, marks);
}

}  // namespace oncemark::inbox
