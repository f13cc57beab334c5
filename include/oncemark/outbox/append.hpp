#pragma once

#include <span>
#include <string>
#include <vector>

#include <oncemark/core/clock.hpp>
#include <oncemark/mysql/transaction.hpp>
#include <oncemark/outbox/writer.hpp>

/// More ways to append than one by one, and at once: beside append() in writer.hpp.
namespace oncemark::outbox {

/// Adds many messages by few statements. Returns their message ids, in order.
///
/// Shape:   as append(); rows get their ids in the order of `drafts`, which is the order of a key on its topic.
/// Threads: the thread that owns `tx`. One round trip for the database's clock, one for each 1,024 rows at most.
/// Errors:  PermanentError when a draft exceeds a limit, with its number from 0 (before any SQL, nothing is added);
///          MysqlError otherwise, code 1062 when an id was appended before.
/// Crash:   as append().
/// Source:  docs/guarantees.md, outbox.
std::vector<std::string> append_all(mysql::Transaction& tx, std::span<const Draft> drafts);

/// Adds a message that is not sent before `at`, by the database's clock; at once when that has passed. Returns its id.
///
/// Shape:   as append() with a delay; `draft.delay` must be 0. At most 365 days ahead.
/// Threads: the thread that owns `tx`. Two round trips.
/// Errors:  as append().
/// Crash:   as append().
/// Source:  docs/guarantees.md, outbox.
std::string append_at(mysql::Transaction& tx, Draft draft, Time at);

}  // namespace oncemark::outbox
