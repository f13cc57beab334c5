#include "dead_letter/survey.hpp"

#include <algorithm>
#include <map>
#include <unordered_set>

#include <oncemark/core/error.hpp>

#include "dead_letter/alike.hpp"
#include "dead_letter/scan.hpp"

namespace oncemark::dead_letter {
namespace {

constexpr std::size_t kPlannedGroups = 20;

class Survey {
 public:
  Survey(mysql::Pool& pool, const ReplayOrder& order) : pool_(pool), order_(order) {}

  ReplayPlan make() {
    Selection dead = order_.selection;
    dead.state = LetterState::dead;
    pool_.transact([&](mysql::Transaction& tx) { find_stopped(tx); });
    scan_letters(pool_, dead, order_.filter, [&](const Seen& seen) { return take(seen); });
    plan_.groups = pool_.transact([&](mysql::Transaction& tx) { return alike_.largest(tx, kPlannedGroups); });
    freeze();
    for (const auto& [topic, letters] : targets_) plan_.targets.push_back({.topic = topic, .letters = letters});
    return std::move(plan_);
  }

 private:
  struct Place {
    std::uint32_t topic;
    std::int32_t partition;
    std::int64_t offset;
    std::uint64_t id;
    auto operator<=>(const Place&) const = default;
  };

  void find_stopped(mysql::Transaction& tx) {
    for (const mysql::Row& row : tx.query("SELECT head_key FROM parked_key WHERE consumer = ? AND due_at IS NULL",
                                          *order_.selection.consumer)) {
      stopped_.insert(row.get<std::string>(0));
    }
  }

  /// False when that was the last one.
  bool take(const Seen& seen) {
    if (places_.size() >= order_.limit) return false;
    const auto topic = topics_.emplace(seen.topic, topics_.size()).first->second;
    places_.push_back({.topic = static_cast<std::uint32_t>(topic),
                       .partition = seen.partition,
                       .offset = seen.offset,
                       .id = seen.id});
    alike_.add(seen);
    if (seen.life > order_.max_replays) {
      ++plan_.guarded;
    } else if (stopped_.contains(seen.identity)) {
      ++plan_.in_place;
    } else {
      count_target(seen);
    }
    return places_.size() < order_.limit;
  }

  void count_target(const Seen& seen) {
    try {
      ++targets_[order_.topics.retry_topic(seen.group, seen.topic)];
    } catch (const PermanentError&) {
      ++plan_.refused;
    }
  }

  void freeze() {
    if (order_.turn == Turn::by_origin) std::ranges::sort(places_);
    plan_.letters.reserve(places_.size());
    for (const Place& place : places_) plan_.letters.push_back(place.id);
  }

  mysql::Pool& pool_;
  const ReplayOrder& order_;
  ReplayPlan plan_;
  std::vector<Place> places_;
  std::map<std::string, std::size_t> topics_;
  Alike alike_;
  std::map<std::string, std::uint64_t> targets_;
  std::unordered_set<std::string> stopped_;  // message keys of dead heads
};

}  // namespace

ReplayPlan survey(mysql::Pool& pool, const ReplayOrder& order) { return Survey(pool, order).make(); }

}  // namespace oncemark::dead_letter
