#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <oncemark/dead_letter/resend.hpp>
#include <oncemark/mysql/pool.hpp>
#include <oncemark/mysql/transaction.hpp>
#include <oncemark/reconcile/finding.hpp>

namespace oncemark::reconcile {

/// What can be done about a difference.
enum class Action {
  none,    ///< nothing here: a relay or a consumer has to run, or a person has to decide
  resend,  ///< its outbox row becomes pending once more: the same message, with its id
  replay,  ///< the letter starts its message's next life
  close,   ///< the letter is closed: its message is not where the letter says
  waive,   ///< it is accepted as it is, and not reported any more
};

[[nodiscard]] std::string_view to_string(Action action) noexcept;

/// What repairs a difference without a person's judgement.
[[nodiscard]] Action action_for(const Finding& finding) noexcept;
/// Why action_for() says `none`, as a half-sentence with what to do; empty otherwise.
[[nodiscard]] std::string_view why_not(const Finding& finding) noexcept;

struct RepairOptions {
  std::string operator_name = {};                       // at most 255 bytes
  std::string reason = {};                              // at most 1,024 bytes · required to waive
  std::chrono::seconds sla = std::chrono::minutes(15);  // as in ReconcileOptions: what is younger is left alone
  dead_letter::ResendOptions resend = {};               // topics, and who sends what has to be made anew

  /// Throws MisuseError naming the field.
  void validate(Action action) const;
};

/// What became of one difference.
struct Repaired {
  bool is_done = false;
  std::string outcome = {};  // for the audit: "pending", "replayed", "waived", or "skipped:" and what it is by now
};

/// Does it, if the difference is still there; what has changed meanwhile is left alone, and said.
///
/// Shape:   with a row in `replay_audit`: action reconcile-resend, reconcile-close, reconcile-waive; a letter's replay
///          and a refused row's retry are audited as such. A message that is sent again goes to its own topic, where
///          every other consumer drops it as a copy.
/// Threads: the thread that owns `tx`. Locks the state row first, where there is one.
/// Errors:  MysqlError; PermanentError for a letter that cannot be replayed.
/// Crash:   all or nothing with `tx`. Given twice, the second finds nothing left to do.
/// Source:  docs/reconcile.md, docs/guarantees.md.
[[nodiscard]] Repaired repair(mysql::Transaction& tx, const Finding& finding, Action action,
                              const RepairOptions& options);

/// A difference that a person has accepted.
struct Waiver {
  Kind kind = Kind::unexpected;
  std::string scope = {};
  std::string business_key = {};
  std::string message_id = {};
  std::uint32_t life = 0;
  std::string operator_name = {};
  std::string reason = {};
  Time waived_at{};
};

/// Newest first; at most `limit`.
[[nodiscard]] std::vector<Waiver> waivers(mysql::Transaction& tx, std::size_t limit);
/// Takes waivers of this business key back, so that their differences are reported again; how many.
///
/// Crash:   all or nothing with `tx`.
[[nodiscard]] std::uint64_t take_back(mysql::Transaction& tx, const std::string& scope, const std::string& business_key,
                                      const RepairOptions& options);

}  // namespace oncemark::reconcile
