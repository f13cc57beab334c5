#pragma once

#include <cstdint>

#include <oncemark/mysql/pool.hpp>
#include <oncemark/mysql/transaction.hpp>

namespace oncemark::mysql {

/// The epoch names the history that a database has lived through: 64 random bits, drawn when it was first migrated. A
/// restored or copied database carries the epoch of its original and must be given one of its own, so that what was
/// remembered elsewhere (Redis) about the time since is void. `oncemark schema new-epoch` does that.
///
/// Threads: any; each call makes a connection of its own, so that it neither waits for the pool nor asks a server that
///          has been replaced.
/// Errors:  MysqlError; MisuseError when the database has never been migrated.
[[nodiscard]] std::uint64_t read_epoch(const Pool& pool);
/// Draws a new one; returns it.
///
/// Crash:   one COMMIT: the old one or the new one.
std::uint64_t draw_epoch(const Pool& pool);
/// The same as a part of what makes the remembered void.
///
/// Threads: the thread that owns `tx`.
/// Crash:   all or nothing with `tx`.
std::uint64_t draw_epoch(Transaction& tx);

}  // namespace oncemark::mysql
