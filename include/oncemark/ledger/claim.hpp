#pragma once

#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include <oncemark/ledger/state.hpp>
#include <oncemark/message/message.hpp>
#include <oncemark/mysql/pool.hpp>
#include <oncemark/mysql/transaction.hpp>

namespace oncemark::ledger {

/// What a claim found.
struct Claim {
  bool is_fresh = false;               // this transaction owns the message: run the handler
  Standing standing = {};              // not fresh: what the row said
  bool is_key_conflict = false;        // not fresh, and the row was made by a message with other contents
  bool is_new_row = false;             // fresh, and there was no row
  bool is_older_than_horizon = false;  // not fresh: its mark may have been purged; see ledger/horizon.hpp
  std::optional<Message> whole = {};   // fresh, and the record is a pointer: the message with what it points to
};

/// Claims one message for `consumer`, before its handler runs.
///
/// Shape:   a record from a source topic is claimed by inserting its row as `done`; one from the group's retry topic
///          by locking its row, which must be `retrying` with the record's life and attempt, and setting it to `done`
///          (with its failed_message deleted and, from life 2 on, the letter of the life before marked replayed).
///          No row means fresh, whatever the record says.
/// Threads: the thread that owns `tx`. Waits on the row's lock while another transaction holds it: that is the fence.
/// Errors:  MysqlError; 1213 and 1205 are lost races, to be tried again in a new transaction.
/// Crash:   the claim is kept only if `tx` commits, together with what the handler wrote.
/// Source:  design, section 3 and decisions 1 and 2.
[[nodiscard]] Claim claim(mysql::Transaction& tx, std::string_view consumer, const Message& message);

/// Where a group claim begins. insert: one round trip when nothing is a duplicate. look: a plain SELECT first, and the
/// insert for what it does not find. A committed row proves a copy without a lock, an undo record or the binlog, so
/// this is cheaper where duplicates are frequent; what it does not find may be in flight elsewhere: only the insert
/// tells.
enum class ClaimFirst { insert, look };

/// Claims several messages of source topics at once: one multi-row insert in key order (lock order), and one look-up
/// only when some of them are not fresh. The result is in the order of `messages`; of two with the same business key
/// the first is claimed and the later ones are duplicates of it. One alone is claimed as by claim(), so it may be
/// from the retry topic.
[[nodiscard]] std::vector<Claim> claim_group(mysql::Transaction& tx, std::string_view consumer,
                                             std::span<const Message* const> messages,
                                             ClaimFirst first = ClaimFirst::insert);

/// Takes back a fresh claim of this transaction on a message of a source topic: its row is deleted, and whoever waits
/// for it finds it fresh once `tx` has committed.
void give_back(mysql::Transaction& tx, std::string_view consumer, std::string_view message_key);
/// The same of several, in one statement.
void give_back(mysql::Transaction& tx, std::string_view consumer, std::span<const std::string_view> message_keys);

/// Locks and reads the state row; nothing when there is none (which locks nothing).
[[nodiscard]] std::optional<Standing> lock_standing(mysql::Transaction& tx, std::string_view consumer,
                                                    std::string_view message_key);

/// Proves, in a transaction that is rolled back, that affected rows count changes and not matches (a proxy may set
/// CLIENT_FOUND_ROWS): otherwise every duplicate would look fresh. Throws MisuseError with the cure.
void require_exact_affected_rows(mysql::Pool& pool);

}  // namespace oncemark::ledger
