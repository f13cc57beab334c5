#pragma once

#include <memory>
#include <mutex>

#include <oncemark/inbox/store.hpp>
#include <oncemark/ledger/horizon.hpp>
#include <oncemark/mysql/pool.hpp>

namespace oncemark::inbox {

class DuplicateShare;
class Ordered;

/// Marks in the table consumed_message.
///
/// Shape, Errors, Crash: as Store. A transaction that was doomed ends in the error that doomed it, whatever `effects`
///          threw afterwards, so that a lost race is never taken for the message's fault.
///          A message that had no mark, and that is old enough, is held against the horizon in the same transaction; if
///          it is not younger, its claim is given back and says so (Claim::is_older_than_horizon).
///          While duplicates are frequent, a group is looked for before it is claimed (ledger::ClaimFirst).
/// Threads: any; each settle() borrows one connection.
class MysqlStore final : public Store {
 public:
  /// `ordered` refuses messages of keys that have parked ones; it must outlive the store. Null: nobody looks.
  explicit MysqlStore(mysql::Pool& pool, ledger::HorizonOptions horizon = {}, const Ordered* ordered = nullptr);
  ~MysqlStore() override;

  void prepare() override;
  std::vector<ledger::Claim> settle(const std::string& consumer, std::span<const Message* const> group,
                                    const Effects& effects) override;
  [[nodiscard]] bool is_reachable() noexcept override;
  [[nodiscard]] std::vector<std::uint32_t> note(const std::string& consumer,
                                                std::span<const Message* const> messages) override;
  [[nodiscard]] std::uint32_t note_alone(const std::string& consumer, const Message& message) override;
  void withdraw(const std::string& consumer, std::span<const Message* const> messages) override;

 private:
  mysql::Pool& pool_;
  ledger::HorizonOptions horizon_;
  const Ordered* ordered_;
  std::mutex mutex_;
  std::unique_ptr<DuplicateShare> share_;  // guarded by mutex_
};

}  // namespace oncemark::inbox
