#pragma once

#include <string>

#include <oncemark/mysql/transaction.hpp>
#include <oncemark/outbox/writer.hpp>

namespace oncemark::binlog {

/// Adds a message to the outbox and removes it again in the same transaction: the table stays empty, and the relay
/// sends what the binlog shows. Returns its message id.
///
/// Shape:   for a binlog::Relay with Rows::pass, under a relay name that has such rows only. Gives up what the row was
///          good for: nothing to send from when the binlog is purged before it was read, nothing to look up by
///          `oncemark find`, nothing for reconciliation but the topic. No delay: a draft with one is refused.
/// Threads: the thread that owns `tx`. One INSERT and one DELETE, no network to Kafka.
/// Errors:  as outbox::append(); PermanentError for a draft with a delay.
/// Crash:   before the commit: no message. After: the relay sends it at least once, if it reads the binlog in time.
std::string append_in_passing(mysql::Transaction& tx, const outbox::Draft& draft);

}  // namespace oncemark::binlog
