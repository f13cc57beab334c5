#include "dead_letter/alike.hpp"

#include <algorithm>
#include <tuple>

namespace oncemark::dead_letter {

void Alike::add(const Seen& seen) {
  One& one = groups_[seen.fingerprint];
  if (++one.group.letters == 1) {
    one.group.fingerprint = seen.fingerprint;
    one.group.first_died_at = one.group.last_died_at = seen.died_at;
  }
  one.group.first_died_at = std::min(one.group.first_died_at, seen.died_at);
  one.group.last_died_at = std::max(one.group.last_died_at, seen.died_at);
  one.newest = std::max(one.newest, seen.id);
}

std::vector<LetterGroup> Alike::largest(mysql::Transaction& tx, std::size_t limit) const {
  std::vector<One> ordered;
  for (const auto& [fingerprint, one] : groups_) ordered.push_back(one);
  std::ranges::sort(ordered, [](const One& a, const One& b) {
    return std::tie(b.group.letters, a.group.fingerprint) < std::tie(a.group.letters, b.group.fingerprint);
  });
  ordered.resize(std::min(limit, ordered.size()));
  std::vector<LetterGroup> groups;
  for (One& one : ordered) {
    for (const Letter& newest : find_letters(tx, {.id = one.newest, .state = std::nullopt}, 1, Detail::summary)) {
      one.group.error_class = newest.error_class;
      one.group.error_text = newest.error_text;
    }
    groups.push_back(std::move(one.group));
  }
  return groups;
}

std::vector<LetterGroup> letter_groups(mysql::Pool& pool, const Selection& selection, const LetterFilter& filter,
                                       std::size_t limit) {
  if (!filter.accepts) {
    return pool.transact([&](mysql::Transaction& tx) { return letter_groups(tx, selection, limit); });
  }
  Alike alike;
  scan_letters(pool, selection, filter, [&](const Seen& seen) {
    alike.add(seen);
    return true;
  });
  return pool.transact([&](mysql::Transaction& tx) { return alike.largest(tx, limit); });
}

}  // namespace oncemark::dead_letter
