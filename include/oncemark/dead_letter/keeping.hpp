#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <oncemark/core/bytes.hpp>
#include <oncemark/dead_letter/replay.hpp>
#include <oncemark/dead_letter/store.hpp>
#include <oncemark/dead_letter/waiting.hpp>
#include <oncemark/message/headers.hpp>
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

/// What a letter's record is changed into; the key stays, and with it order and partition.
struct Edit {
  Bytes payload = {};
  Headers headers = {};  // of the message; names that start with om- keep the values they had
};

/// What became of an edited letter.
struct Edited {
  bool is_done = false;
  std::string outcome = {};     // "replayed", or "skipped:", "guarded:" and what stands in its way
  std::string message_id = {};  // of the new message
};

/// Replays a letter with another record: a new message, with an id of its own and om-edited-from, in the next life of
/// the old one. So of the two at most one takes effect, however often either is delivered.
///
/// Shape:   as replay_letter(), with action "edit" and the new id in the audit.
/// Threads: the thread that owns `tx`. Locks the state row first.
/// Errors:  PermanentError for a record that can never be stored or that is still missing, and MisuseError for a letter
///          that stopped its key, which goes on in its place with the record it has; MysqlError.
/// Crash:   all or nothing with `tx`.
[[nodiscard]] Edited replay_edited(mysql::Transaction& tx, std::uint64_t letter_id, const Edit& edit,
                                   const ReplayOrder& order);

}  // namespace oncemark::dead_letter
