#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include <oncemark/ledger/claim.hpp>
#include <oncemark/message/message.hpp>
#include <oncemark/mysql/transaction.hpp>

namespace oncemark::inbox {

/// Where marks are kept. A seam, so that Dedup is tested without a server.
///
/// Threads: all members from many workers at once.
/// Errors:  settle() throws whatever `effects` threw (after rolling back), or MysqlError, or InDoubtError.
/// Crash:   claims and effects are one commit: both or neither.
class Store {
 public:
  /// Runs the effects of the fresh ones; returns the places of those that failed by themselves and were undone (to
  /// a savepoint): their claims are given back, the rest is committed.
  using Effects = std::function<std::vector<std::size_t>(std::span<const ledger::Claim>, mysql::Transaction&)>;

  virtual ~Store() = default;
  /// Checks that the store can be used; throws MisuseError with the cure.
  virtual void prepare() = 0;
  /// In one transaction: claims the messages, calls `effects` with the claims, commits. Returns the claims.
  virtual std::vector<ledger::Claim> settle(const std::string& consumer, std::span<const Message* const> group,
                                            const Effects& effects) = 0;
  [[nodiscard]] virtual bool is_reachable() noexcept = 0;
};

}  // namespace oncemark::inbox
