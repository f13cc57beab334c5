#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include <oncemark/mysql/transaction.hpp>
#include <oncemark/retry/topics.hpp>

namespace oncemark::dead_letter {

struct ResendOptions {
  retry::TopicNames topics = {};  // where to, as RouterOptions::topics
  std::string relay = {};  // who sends rows that have to be made anew · default: the relay named like the consumer
};

/// What send_again() found.
enum class Resend {
  nothing,  ///< not retrying, not overdue, held by somebody, or still in the outbox: left alone
  again,    ///< its outbox row was sent long ago and is pending again
  anew,     ///< its outbox row was gone and was made again from failed_message
};

/// Sends the record of a message once more that waits in `retrying` and is overdue: what the broker lost, and what a
/// consumer passed without a trace.
///
/// Shape:   overdue means that its due time, and the time its outbox row was sent, lie further back than `overdue` by
///          the database's clock. The record carries the message's life and attempt, so that the claim it meets is
///          conditional: a copy of a delivery that was settled meanwhile is dropped.
/// Threads: the thread that owns `tx`. Locks the state row first, as every transition; does not wait for one that is
///          locked: whoever holds it is at work on the message.
/// Errors:  MysqlError; PermanentError when the retry topic has no legal name.
/// Crash:   all or nothing with `tx`. Sent twice is as good as once.
/// Source:  design, section 3.
[[nodiscard]] Resend send_again(mysql::Transaction& tx, const ResendOptions& options, std::string_view consumer,
                                std::string_view message_key, std::chrono::seconds overdue);

}  // namespace oncemark::dead_letter
