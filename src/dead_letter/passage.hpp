#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <oncemark/dead_letter/envelope.hpp>
#include <oncemark/dead_letter/store.hpp>
#include <oncemark/ledger/transitions.hpp>
#include <oncemark/message/message.hpp>
#include <oncemark/mysql/transaction.hpp>
#include <oncemark/retry/topics.hpp>

namespace oncemark::dead_letter {

// What leads away from a failure, whoever decides about it: an outgoing row, and a letter. In the caller's transaction,
// which holds the lock on the message's state row.

/// Where a message goes by the outbox.
struct Passage {
  std::string_view consumer;
  const std::string& relay;  // empty: the one named like the consumer
  std::string purpose;
  std::string topic;
  Headers headers;
  std::optional<Time> due = std::nullopt;  // none: at once
};

/// Adds the row in the outbox that carries `message` on.
void send_on(mysql::Transaction& tx, const Message& message, Passage passage);

/// The end of a life.
struct Burial {
  std::string_view consumer;
  LetterState state;
  const Envelope& envelope;  // how it failed last, and when first
  const std::optional<ledger::FirstFailure>& first;
  const retry::TopicNames& topics;
  Time died_at;
};

/// Keeps the message as a letter, and settles the letter of the life before.
Letter keep_letter(mysql::Transaction& tx, const Message& message, const Burial& burial);

}  // namespace oncemark::dead_letter
