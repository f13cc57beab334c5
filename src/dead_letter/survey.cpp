#include "dead_letter/survey.hpp"

#include <algorithm>
#include <map>
#include <tuple>
#include <unordered_map>
#include <unordered_set>

#include <oncemark/core/error.hpp>

#include "dead_letter/selection.hpp"

namespace oncemark::dead_letter {
namespace {

constexpr std::size_t kPage = 10'000;       // letters of which only a line is read
constexpr std::size_t kPageOfRecords = 50;  // letters that are read whole, for a filter
constexpr std::size_t kPlannedGroups = 20;

/// What a plan wants to know of a letter.
struct Seen {
  std::uint64_t id = 0;
  std::string fingerprint;
  std::string group;
  std::string topic;
  std::string identity;
  std::int32_t partition = 0;
  std::int64_t offset = 0;
  std::uint32_t life = 1;
  Time died_at{};
};

Seen seen_of(const mysql::Row& row) {
  return {.id = row.get<std::uint64_t>(0),
          .fingerprint = row.get<std::string>(1),
          .group = row.get<std::string>(2),
          .topic = row.get<std::string>(3),
          .identity = row.get<std::string>(4),
          .partition = row.get<std::int32_t>(5),
          .offset = row.get<std::int64_t>(6),
          .life = row.get<std::uint32_t>(7),
          .died_at = row.get<Time>(8)};
}

Seen seen_of(const Letter& letter) {
  return {.id = letter.id,
          .fingerprint = letter.fingerprint,
          .group = letter.group,
          .topic = letter.message.origin.topic,
          .identity = letter.message.business_key,
          .partition = letter.message.origin.partition,
          .offset = letter.message.origin.offset,
          .life = letter.message.life,
          .died_at = letter.died_at};
}

class Survey {
 public:
  Survey(mysql::Pool& pool, const ReplayOrder& order) : pool_(pool), order_(order), selection_(order.selection) {
    selection_.state = LetterState::dead;
  }

  ReplayPlan make() {
    pool_.transact([&](mysql::Transaction& tx) { begin(tx); });
    while (places_.size() < order_.limit && selection_.after_id < selection_.last_id) {
      if (!next_page()) break;
    }
    pool_.transact([&](mysql::Transaction& tx) { describe_groups(tx); });
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
  struct Alike {
    LetterGroup group;
    std::uint64_t newest = 0;
  };

  void begin(mysql::Transaction& tx) {
    const auto newest = tx.query_row("SELECT COALESCE(MAX(id), 0) FROM dead_letter")->get<std::uint64_t>(0);
    selection_.last_id = std::min(selection_.last_id, newest);
    for (const mysql::Row& row : tx.query("SELECT head_key FROM parked_key WHERE consumer = ? AND due_at IS NULL",
                                          *order_.selection.consumer)) {
      stopped_.insert(row.get<std::string>(0));
    }
  }

  /// False at the end.
  bool next_page() { return order_.filter.accepts ? next_filtered() : next_plain(); }

  bool next_plain() {
    Condition condition = condition_of(selection_);
    condition.params.emplace_back(kPage);
    const mysql::Rows rows = pool_.transact([&](mysql::Transaction& tx) {
      return tx.query_with(
          "SELECT id, fingerprint, origin_group, origin_topic, identity, origin_partition, origin_offset, life, "
          "died_at FROM dead_letter" +
              condition.sql + " ORDER BY id LIMIT ?",
          condition.params);
    });
    for (const mysql::Row& row : rows) {
      if (!take(seen_of(row))) return false;
    }
    return rows.size() == kPage;
  }

  bool next_filtered() {
    const std::size_t page = order_.filter.needs == Detail::summary ? kPage / 10 : kPageOfRecords;
    const auto letters =
        pool_.transact([&](mysql::Transaction& tx) { return find_letters(tx, selection_, page, order_.filter.needs); });
    for (const Letter& letter : letters) {
      selection_.after_id = letter.id;
      if (order_.filter.accepts(letter) && !take(seen_of(letter))) return false;
    }
    return letters.size() == page;
  }

  /// False when that was the last one.
  bool take(const Seen& seen) {
    selection_.after_id = seen.id;
    const auto topic = topics_.emplace(seen.topic, topics_.size()).first->second;
    places_.push_back({.topic = static_cast<std::uint32_t>(topic),
                       .partition = seen.partition,
                       .offset = seen.offset,
                       .id = seen.id});
    Alike& alike = groups_[seen.fingerprint];
    if (++alike.group.letters == 1) alike.group.first_died_at = alike.group.last_died_at = seen.died_at;
    alike.group.first_died_at = std::min(alike.group.first_died_at, seen.died_at);
    alike.group.last_died_at = std::max(alike.group.last_died_at, seen.died_at);
    alike.newest = seen.id;
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

  void describe_groups(mysql::Transaction& tx) {
    std::vector<Alike> largest;
    for (auto& [fingerprint, alike] : groups_) {
      alike.group.fingerprint = fingerprint;
      largest.push_back(std::move(alike));
    }
    const std::size_t shown = std::min(kPlannedGroups, largest.size());
    std::ranges::partial_sort(
        largest, largest.begin() + static_cast<std::ptrdiff_t>(shown), [](const auto& a, const auto& b) {
          return std::tie(b.group.letters, a.group.fingerprint) < std::tie(a.group.letters, b.group.fingerprint);
        });
    largest.resize(shown);
    for (Alike& alike : largest) {
      for (const Letter& newest : find_letters(tx, {.id = alike.newest, .state = std::nullopt}, 1, Detail::summary)) {
        alike.group.error_class = newest.error_class;
        alike.group.error_text = newest.error_text;
      }
      plan_.groups.push_back(std::move(alike.group));
    }
  }

  void freeze() {
    if (order_.turn == Turn::by_origin) std::ranges::sort(places_);
    plan_.letters.reserve(places_.size());
    for (const Place& place : places_) plan_.letters.push_back(place.id);
  }

  mysql::Pool& pool_;
  const ReplayOrder& order_;
  Selection selection_;
  ReplayPlan plan_;
  std::vector<Place> places_;
  std::map<std::string, std::size_t> topics_;
  std::unordered_map<std::string, Alike> groups_;
  std::map<std::string, std::uint64_t> targets_;
  std::unordered_set<std::string> stopped_;  // message keys of dead heads
};

}  // namespace

ReplayPlan survey(mysql::Pool& pool, const ReplayOrder& order) { return Survey(pool, order).make(); }

}  // namespace oncemark::dead_letter
