#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include <oncemark/dead_letter/store.hpp>
#include <oncemark/dead_letter/waiting.hpp>
#include <oncemark/mysql/pool.hpp>
#include <oncemark/mysql/transaction.hpp>

namespace oncemark::dead_letter {

/// What is done to letters without replaying them.
enum class Keeping {
  archive,  ///< dead → archived: replays pass it over; its message stays dead
  restore,  ///< archived → dead
  resolve,  ///< dead or archived → resolved: closed for good; its message stays dead
  purge     ///< deletes the letter, record and all; only of those that are archived, resolved, replayed or discarded
};
[[nodiscard]] std::string_view to_string(Keeping keeping) noexcept;

/// The ids of the letters that are selected, the oldest first, at most `limit`.
///
/// Shape:   read page by page; letters that die meanwhile are not among them.
/// Threads: any.
/// Errors:  MisuseError as for Selection; MysqlError.
[[nodiscard]] std::vector<std::uint64_t> select_letters(mysql::Pool& pool, const Selection& selection,
                                                        const LetterFilter& filter, std::uint64_t limit);

/// Does it to these letters, as far as their state allows, and audits each. Returns how many that were.
///
/// Threads: the thread that owns `tx`. Locks the letters; of their messages' state rows nothing is touched.
/// Errors:  MysqlError.
/// Crash:   all or nothing with `tx`.
std::uint64_t keep_letters(mysql::Transaction& tx, std::span<const std::uint64_t> letters, Keeping keeping,
                           const Hand& hand);

}  // namespace oncemark::dead_letter
