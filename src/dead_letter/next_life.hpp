#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <oncemark/dead_letter/replay.hpp>
#include <oncemark/dead_letter/store.hpp>
#include <oncemark/mysql/transaction.hpp>

namespace oncemark::dead_letter {

/// What replays of letters have in common.
struct NextLife {
  std::string consumer = {};
  std::string relay = {};  // empty: the one named like the consumer
  const retry::TopicNames& topics;
  std::uint32_t max_replays = UINT32_MAX;
  std::uint64_t job_id = 0;  // 0: no job
  std::string_view action = "replay";
  const std::string& operator_name;
  const std::string& reason;
  Bytes new_message_id = {};  // of a letter that goes on as another message
};

/// How one letter of several ended; the outcome is what its audit says.
enum class Fate { replayed, skipped, guarded, refused };
struct Settled {
  Fate fate = Fate::skipped;
  std::string outcome = {};
};

/// Replays letters of one consumer in the caller's transaction, by few statements, and audits each. The result is in
/// their order. A letter whose next record can never be stored is refused, and logged.
///
/// Locks the messages' state rows before anything else; throws Error{transient} when a letter changed under us.
[[nodiscard]] std::vector<Settled> begin_next_lives(mysql::Transaction& tx, const NextLife& how,
                                                    std::span<const Letter> letters);

/// An audit row for each: letters[i] ended as outcomes[i].
void audit_letters(mysql::Transaction& tx, const NextLife& how, std::span<const Letter> letters,
                   std::span<const Settled> settled);

}  // namespace oncemark::dead_letter
