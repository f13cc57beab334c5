#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <oncemark/dead_letter/store.hpp>
#include <oncemark/ledger/state.hpp>
#include <oncemark/mysql/transaction.hpp>

namespace oncemark::dead_letter {

/// A row of the outbox that carried, or will carry, a message on.
struct OutboxTrace {
  std::uint64_t id = 0;
  std::string message_id = {};  // of the letter, or of what it was edited into
  std::string purpose = {};     // empty: the business message itself, when it was sent from this database
  std::string topic = {};
  std::string relay = {};
  std::string status = {};
  std::uint32_t attempts = 0;  // refusals by the broker
  std::string last_error = {};
  Time available_at{};
  std::optional<Time> sent_at = {};
};

/// What a person's command did to a letter.
struct AuditTrace {
  std::uint64_t job_id = 0;  // 0: no job
  std::string action = {};
  std::string outcome = {};
  std::string operator_name = {};
  std::string reason = {};
  std::string new_message_id = {};  // of a letter that was edited: the message that it has become
  Time at{};
};

/// What our tables say about the message of a letter.
struct Trail {
  std::optional<ledger::Standing> standing = {};  // where the message stands now for the consumer; nothing: no row
  std::optional<Time> standing_since = {};
  std::vector<Letter> other_lives = {};  // summaries; the same message's letters of other lives, oldest first
  std::vector<OutboxTrace> outbox = {};  // oldest first
  std::vector<AuditTrace> audits = {};   // oldest first
};

/// Reads the trail; at most 100 entries of each kind.
///
/// Threads: the thread that owns `tx`. Locks nothing.
/// Errors:  MysqlError.
[[nodiscard]] Trail trail_of(mysql::Transaction& tx, const Letter& letter);

}  // namespace oncemark::dead_letter
