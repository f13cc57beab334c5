#pragma once

#include <functional>
#include <iosfwd>
#include <stop_token>
#include <string>
#include <vector>

#include <oncemark/mysql/pool.hpp>
#include <oncemark/reconcile/reconciler.hpp>

namespace oncemark::reconcile {

/// Reconciliation between two databases that no one program may log in to: files are carried over instead.
///
///     at the sender's     export_sent()     ──▶ file ──▶     answer()     at the consumer's
///     at the sender's     read_answer()     ◀── file ◀──   its differing buckets, row by row
///
/// Shape:   text, one line a bucket or a row, sizes of buckets and not of tables; the last line counts the others, so
///          that a file that was cut off is noticed. Keys and message ids are in it, payloads are not.
/// Threads: one thread at a time.
/// Errors:  MisuseError for a file that is none of ours, is cut off, or is of the other side; MysqlError;
///          Error{unavailable} when stopped.
/// Crash:   nothing is written but the file.

/// What was sent from this database, as digests. Returns what it covers.
Grid export_sent(mysql::Pool& pool, const ReconcileOptions& options, std::ostream& file, std::stop_token stop = {});

/// Compares such a file with what `consumer` has here; where they differ, writes what it has to `file`, for the sender.
std::vector<Compared> answer(mysql::Pool& pool, std::istream& sent, const std::string& consumer,
                             const ReconcileOptions& options, std::ostream* file, std::stop_token stop = {});

/// Compares an answer with what was sent from this database: the messages that differ, by name, as
/// Reconciler::look() reports them.
///
/// Shape:   a key that was sent several times counts as settled when the consumer has it in any bucket. What was sent
///          after the first file was made is not looked at.
Report read_answer(mysql::Pool& pool, std::istream& settled, const ReconcileOptions& options,
                   const Reconciler::Visit& visit, std::stop_token stop = {});

/// Which of the two a file is: "sent" or "settled". The stream stands at its beginning again.
[[nodiscard]] std::string side_of(std::istream& file);

}  // namespace oncemark::reconcile
