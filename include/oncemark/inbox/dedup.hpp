#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <oncemark/consume/handler.hpp>
#include <oncemark/inbox/batch.hpp>
#include <oncemark/inbox/effect.hpp>
#include <oncemark/inbox/hint.hpp>
#include <oncemark/inbox/key_from.hpp>
#include <oncemark/inbox/store.hpp>
#include <oncemark/ledger/horizon.hpp>
#include <oncemark/message/json_pointer.hpp>
#include <oncemark/mysql/pool.hpp>
#include <oncemark/observe/metrics.hpp>

namespace oncemark {

/// Where a handler's effect lies. A required choice, because the promise differs.
enum class Effects {
  transaction,  ///< in the transaction it is given: applied exactly when the mark is
  outside,      ///< elsewhere too (a call, a mail): the message id is the idempotency key to pass on, and a crash
                ///< before the commit repeats the effect
};

}  // namespace oncemark

namespace oncemark::inbox {

/// What becomes of a message whose business key was used before by one with other contents.
enum class OnKeyConflict {
  count,        ///< it is a duplicate all the same; counted and logged
  dead_letter,  ///< a letter of class key_conflict, keyed by its coordinates; the key's own row is not touched
};

class HintUse;
class Ordered;

struct DedupOptions {
  std::string consumer = {};                      // dedup scope, fixed for ever · [A-Za-z0-9._-], 1 to 100 · required
  std::optional<oncemark::Effects> effects = {};  // required
  std::optional<KeyFrom> key_from = {};           // default: the message id, and a record without one stops the runner
  MissingKey missing_key = MissingKey::dead_letter;  // with key_from: a record that lacks it
  OnKeyConflict on_key_conflict =
      OnKeyConflict::count;                       // same key, other contents · dead_letter floods if resends vary
  std::vector<std::string> conflict_fields = {};  // JSON pointers to what tells contents apart · default: every byte
  ledger::HorizonOptions horizon = {};            // a message that is new, and as old as marks that were purged
  SeenHint* hint = nullptr;   // may know what is done (docs/redis.md) · must outlive the Dedup · null: nothing does
  HintOptions hint_use = {};  // when it is asked, and whether it is believed

  void validate() const;
};

/// Runs an effect once per (consumer, business key), however often the message is delivered.
///
/// Shape:   claim first, then the effect, then one COMMIT for both. A copy that is in flight elsewhere waits for that
///          commit. A copy of something settled is a duplicate: the effect is not called.
///          Messages that wait together share a transaction (group commit): one claim for all, effects in log order,
///          one commit. When an effect of a group throws, the group runs again with a savepoint before each message, and
///          so do, from the start, the groups after it until some went well; those that fail are undone and reported,
///          the others are committed. So an effect may run more than once
///          before one run of it is committed: it must do nothing outside its transaction (else Effects::outside).
/// Threads: handle() from many workers at once; the effect must allow that for different keys.
/// Errors:  handle(message) throws what the effect threw (after rolling back: no mark is kept), MysqlError or
///          InDoubtError. A duplicate is an outcome. A key conflict (same key, other contents) is logged and counted,
///          and with OnKeyConflict::dead_letter also thrown, as KeyConflictError.
///          A message that is new and not younger than the horizon fails with ledger::OlderThanHorizonError, and its
///          effect is not called (DedupOptions::horizon).
/// Crash:   before the commit: nothing happened, the message is delivered again. After: it is a duplicate from then on.
/// Source:  docs/guarantees.md, consumer.
class Dedup final : public consume::Handler {
 public:
  using Effect = inbox::Effect;

  Dedup(mysql::Pool& pool, DedupOptions options, Effect effect, Metrics& metrics = Metrics::none());
  Dedup(Store& store, DedupOptions options, Effect effect, Metrics& metrics = Metrics::none());
  ~Dedup() override;

  /// One message by itself.
  consume::Outcome handle(const Message& message);

  [[nodiscard]] const std::string& consumer() const override { return options_.consumer; }
  void prepare() override;
  void check_topics(const std::vector<std::string>& topics) const override;
  void identify(Message& message) const override;
  [[nodiscard]] std::vector<bool> known_done(std::span<const Message* const> messages) noexcept override;
  [[nodiscard]] consume::Handled handle(std::span<const Message* const> group) override;
  [[nodiscard]] bool is_reachable() noexcept override;
  [[nodiscard]] std::vector<std::uint32_t> note(std::span<const Message* const> messages) override;
  [[nodiscard]] std::uint32_t note_alone(const Message& message) override;
  void withdraw(std::span<const Message* const> messages) noexcept override;
  /// Those of its consumer; null when it was made with a Store.
  [[nodiscard]] consume::Sequences* sequences() noexcept override;

 private:
  friend class BatchDedup;
  using BatchEffect = std::function<void(Batch&, mysql::Transaction&)>;
  using Group = std::span<const Message* const>;
  using Claims = std::span<const ledger::Claim>;
  struct Run;
  struct Look;          // what the hint said
  struct ParkedPlaces;  // where the messages of keys that have sequences are

  [[nodiscard]] consume::Handled claim_and_run(Group group, const Look& looked);
  [[nodiscard]] consume::Handled run_group(Group group, const Look& looked);
  [[nodiscard]] consume::Handled skip_hits(Group group, const Look& looked);
  [[nodiscard]] consume::Handled handle_alone(const Message& message, const Look& looked);
  [[nodiscard]] consume::Handled handle_together(Group group, const Look& looked);
  [[nodiscard]] consume::Handled handle_with_savepoints(Group group, const Look& looked);
  [[nodiscard]] consume::Handled handle_in_order(Group group, const Look& looked);
  void park(Group group, const ParkedPlaces& places, std::vector<consume::Settled>& settled);
  [[nodiscard]] bool has_run_past_a_failure(Group group, Claims claims, const Run& run) const;
  void run_parked(Group group, mysql::Transaction& tx);
  void note_rerun(Group group);
  void apply(const Message& message, mysql::Transaction& tx, Run& run, std::size_t place);
  void apply_batch(Group group, Claims claims, mysql::Transaction& tx, Run& run);
  [[nodiscard]] std::vector<consume::Settled> outcomes(Group group, Claims claims, Run run);
  [[nodiscard]] consume::Settled conflict(const Message& message);

  std::unique_ptr<Ordered> ordered_;
  std::unique_ptr<Store> owned_store_;
  Store& store_;
  DedupOptions options_;
  KeyFrom key_from_;
  std::vector<JsonPointer> conflict_fields_;
  Effect effect_;             // either this one
  BatchEffect batch_effect_;  // or this one
  Metrics& metrics_;
  std::unique_ptr<HintUse> hint_;
  std::atomic<int> wary_groups_{0};  // to be run with savepoints from the start
};

}  // namespace oncemark::inbox
