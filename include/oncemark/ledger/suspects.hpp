#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include <oncemark/message/position.hpp>
#include <oncemark/mysql/pool.hpp>
#include <oncemark/mysql/transaction.hpp>

namespace oncemark::ledger {

/// The watch against crash loops: which records were in the hands of a process that died.
///
/// Shape:   a record is *noted* (tries + 1, committed) before it is handled, and *cleared* in the transaction that
///          settles it. So what is left over was being handled when its process died. Rows are keyed by where the
///          record was read, not by message: a copy or a retry is watched on its own.
///            tries 1, 2   handled in a group with others; all of a group are suspected when it dies
///            tries 3      handled alone: if the process dies now, it was this record
///            tries 4      not handled any more, but dead-lettered as `crash_loop`
///          Tries that lie back for longer than a day are void.
/// Threads: any.
/// Errors:  MysqlError, InDoubtError. A note in doubt was counted or not; noting again errs by one try.
/// Crash:   after the note and before the record was handled: it is suspected for one try, and cleared when it is
///          settled. Whoever leaves a noted record unsettled but lives must withdraw the note.
/// Source:  design, decision 8.
inline constexpr std::uint32_t kTriesAlone = 3;      // from here on a record is noted by itself, and runs by itself
inline constexpr std::uint32_t kTriesCrashLoop = 4;  // from here on it is not run

/// Notes the records of a group, by one statement. For each: its tries, this one included (1 or 2); or 0 when it was
/// not noted because it has to run alone.
[[nodiscard]] std::vector<std::uint32_t> note_suspects(mysql::Pool& pool, std::string_view consumer,
                                                       std::span<const Position> records);

/// Notes a record that note_suspects() left out, right before it runs alone; its tries, this one included.
[[nodiscard]] std::uint32_t note_suspect_alone(mysql::Pool& pool, std::string_view consumer, const Position& record);

/// Part of the transaction that settles the records (done, duplicate, or routed): nothing is suspected any more.
void clear_suspects(mysql::Transaction& tx, std::string_view consumer, std::span<const Position> records);

/// Takes the last note back: the records were not settled, but the process is alive and well (a stop, a rebalance).
void withdraw_suspects(mysql::Pool& pool, std::string_view consumer, std::span<const Position> records);

/// Rows that are older than a week: their records were never delivered again.
[[nodiscard]] std::uint64_t count_stale_suspects(mysql::Transaction& tx);
/// Deletes at most `limit` of them; how many. Waits for no lock of a record that is being handled.
std::uint64_t remove_stale_suspects(mysql::Transaction& tx, std::size_t limit);
/// At most 1,000 of them, in a transaction of its own: what a consumer does when it starts.
std::uint64_t sweep_suspects(mysql::Pool& pool);

}  // namespace oncemark::ledger
