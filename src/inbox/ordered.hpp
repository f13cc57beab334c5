#pragma once

#include <atomic>
#include <functional>
#include <mutex>
#include <set>
#include <span>
#include <string>
#include <vector>

#include <oncemark/consume/sequences.hpp>
#include <oncemark/ledger/claim.hpp>
#include <oncemark/ledger/horizon.hpp>
#include <oncemark/ledger/parked.hpp>
#include <oncemark/message/message.hpp>
#include <oncemark/mysql/pool.hpp>

namespace oncemark::inbox {

/// Thrown out of a transaction that was about to run messages of keys that have sequences: nothing was done.
struct ParkedKeys {
  std::set<std::string> order_keys;
};

/// Ordered retry of one Dedup: what its lanes ask before they run messages, and what the driver does.
///
/// Threads: as consume::Sequences; check_keys(), check_fresh() and park() by every lane at once.
/// Errors:  ParkedKeys from the checks; MysqlError, InDoubtError.
class Ordered final : public consume::Sequences {
 public:
  using Group = std::span<const Message* const>;
  /// Runs the effect of all, in order.
  using Effects = std::function<void(Group, mysql::Transaction&)>;

  Ordered(mysql::Pool& pool, std::string consumer, const ledger::HorizonOptions& horizon, bool is_one_by_one,
          Effects effects)
      : pool_(pool),
        consumer_(std::move(consumer)),
        horizon_(horizon),
        is_one_by_one_(is_one_by_one),
        effects_(std::move(effects)) {}

  // ---- Lanes --------------------------------------------------------------------------------------------------

  [[nodiscard]] bool is_checking() const noexcept { return mode_.load(std::memory_order_acquire) != Mode::off; }
  /// Before the claims, and once more after them, for those that are fresh: a key may have been parked in between, by
  /// another owner of its partition.
  void check_keys(mysql::Transaction& tx, Group group) const;
  void check_fresh(mysql::Transaction& tx, Group group, std::span<const ledger::Claim> claims) const;

  /// Messages of one key, in order.
  struct OfKey {
    std::string order_key;
    std::vector<const Message*> messages;
  };
  struct Parking {
    bool is_gone = false;  // the key has no sequence any more: nothing was done
    std::vector<ledger::Claim> claims =
        {};                           // of the first messages; fresh: parked. Fewer than all: no room for the next
    std::exception_ptr failure = {};  // nothing was done
  };
  /// Appends messages to the sequences of their keys, which are sorted: in one transaction, or, where a key has no
  /// sequence, no room or a message that MySQL refuses, in one for each key.
  [[nodiscard]] std::vector<Parking> park(std::span<const OfKey> keys);
  [[nodiscard]] consume::KeyOrder order() const;

  // ---- Driver -------------------------------------------------------------------------------------------------

  void set_mode(Mode mode, const consume::KeyOrder& order, const std::string& group) override;
  Counts count() override;
  [[nodiscard]] bool is_full() const noexcept override;
  [[nodiscard]] std::vector<Due> next_due(std::size_t most) override;
  [[nodiscard]] std::vector<Taken> take(std::span<const Due> heads) override;
  [[nodiscard]] Drained drain(const Taken& taken, std::size_t most) override;
  [[nodiscard]] std::optional<Message> look_at_head(const Taken& taken) override;
  [[nodiscard]] bool put_back(const Taken& taken, std::chrono::milliseconds delay) override;

 private:
  [[nodiscard]] Parking park_one(OfKey key);
  [[nodiscard]] std::vector<Parking> park_all(std::span<const OfKey> keys);
  [[nodiscard]] std::vector<ledger::Claim> park_in(mysql::Transaction& tx, std::span<const OfKey> keys,
                                                   std::uint32_t limit) const;
  void run(std::span<const ledger::ParkedMessage> messages, mysql::Transaction& tx) const;
  [[nodiscard]] std::size_t run_followers(std::span<const ledger::ParkedMessage> messages,
                                          mysql::Transaction& tx) const;

  mysql::Pool& pool_;
  const std::string consumer_;
  const ledger::HorizonOptions horizon_;
  const bool is_one_by_one_;
  const Effects effects_;
  std::atomic<Mode> mode_{Mode::off};
  std::atomic<std::uint64_t> messages_{0};  // parked, when they were last counted and since then here
  std::atomic<std::uint64_t> max_total_{0};
  mutable std::mutex mutex_;
  consume::KeyOrder order_;  // guarded by mutex_, like group_
  std::string group_;
};

}  // namespace oncemark::inbox
