#pragma once

#include <cstdint>
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

  /// Notes of messages in hand, as consume::Handler describes them. settle() clears those of what it settles (their
  /// suspect_tries are above 0) in its transaction. A store that dies with its process keeps none.
  [[nodiscard]] virtual std::vector<std::uint32_t> note(const std::string& /*consumer*/,
                                                        std::span<const Message* const> /*messages*/) {
    return {};
  }
  [[nodiscard]] virtual std::uint32_t note_alone(const std::string& /*consumer*/, const Message& /*message*/) {
    return 1;
  }
  virtual void withdraw(const std::string& /*consumer*/, std::span<const Message* const> /*messages*/) {}
};

}  // namespace oncemark::inbox
