#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include <oncemark/dead_letter/store.hpp>
#include <oncemark/mysql/pool.hpp>

namespace oncemark::dead_letter {

/// What a scan tells of a letter.
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

/// Shows the letters that are selected now, by id, page by page, until `see` returns false. Locks nothing; what dies
/// meanwhile is not shown.
void scan_letters(mysql::Pool& pool, Selection selection, const LetterFilter& filter,
                  const std::function<bool(const Seen&)>& see);

}  // namespace oncemark::dead_letter
