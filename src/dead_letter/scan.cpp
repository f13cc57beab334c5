#include "dead_letter/scan.hpp"

#include <algorithm>

#include "dead_letter/selection.hpp"

namespace oncemark::dead_letter {
namespace {

constexpr std::size_t kPage = 10'000;        // letters of which only a line is read
constexpr std::size_t kPageOfLines = 1'000;  // for a filter that looks at no record
constexpr std::size_t kPageOfRecords = 50;   // for one that does

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

/// How many letters the page had; less than `page`: it was the last one. 0 also when nobody wants more.
std::size_t show_page(mysql::Pool& pool, Selection& selection, const std::function<bool(const Seen&)>& see) {
  Condition condition = condition_of(selection);
  condition.params.emplace_back(kPage);
  const mysql::Rows rows = pool.transact([&](mysql::Transaction& tx) {
    return tx.query_with(
        "SELECT id, fingerprint, origin_group, origin_topic, identity, origin_partition, origin_offset, life, "
        "died_at FROM dead_letter" +
            condition.sql + " ORDER BY id LIMIT ?",
        condition.params);
  });
  for (const mysql::Row& row : rows) {
    const Seen seen = seen_of(row);
    selection.after_id = seen.id;
    if (!see(seen)) return 0;
  }
  return rows.size();
}

std::size_t show_filtered_page(mysql::Pool& pool, Selection& selection, const LetterFilter& filter, std::size_t page,
                               const std::function<bool(const Seen&)>& see) {
  const auto letters =
      pool.transact([&](mysql::Transaction& tx) { return find_letters(tx, selection, page, filter.needs); });
  for (const Letter& letter : letters) {
    selection.after_id = letter.id;
    if (filter.accepts(letter) && !see(seen_of(letter))) return 0;
  }
  return letters.size();
}

}  // namespace

void scan_letters(mysql::Pool& pool, Selection selection, const LetterFilter& filter,
                  const std::function<bool(const Seen&)>& see) {
  const auto newest = pool.transact([](mysql::Transaction& tx) {
    return tx.query_row("SELECT COALESCE(MAX(id), 0) FROM dead_letter")->get<std::uint64_t>(0);
  });
  selection.last_id = std::min(selection.last_id, newest);
  if (!filter.accepts) {
    while (show_page(pool, selection, see) == kPage) {
    }
    return;
  }
  const std::size_t page = filter.needs == Detail::summary ? kPageOfLines : kPageOfRecords;
  while (show_filtered_page(pool, selection, filter, page, see) == page) {
  }
}

}  // namespace oncemark::dead_letter
