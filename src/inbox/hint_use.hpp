#pragma once

#include <algorithm>
#include <cstdint>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include <oncemark/inbox/hint.hpp>
#include <oncemark/ledger/claim.hpp>
#include <oncemark/message/message.hpp>
#include <oncemark/observe/metrics.hpp>

#include "inbox/duplicate_share.hpp"

namespace oncemark::inbox {

/// How a Dedup uses a hint: when it asks, whom it asks about, what it believes, and what it tells.
///
/// Shape:   look() before the claims, settled() after their commit, with what look() returned. A record of the group's
///          retry topic and one with a replay id have states of their own to leave: they are never asked about. What
///          is remembered is done and committed: fresh claims, and duplicates that MySQL called done.
/// Threads: any.
/// Errors:  none.
class HintUse {
 public:
  using Group = std::span<const Message* const>;

  struct Look {
    std::uint64_t epoch = 0;  // 0: there is no hint, or it knows nothing now
    std::vector<bool> hits;   // one a message; empty: none
    [[nodiscard]] bool hit(std::size_t i) const { return i < hits.size() && hits[i]; }
    [[nodiscard]] bool has_hits() const { return std::ranges::find(hits, true) != hits.end(); }
  };

  /// `hint` may be null: then nothing is done.
  HintUse(SeenHint* hint, const HintOptions& options, std::string consumer, Metrics& metrics);

  [[nodiscard]] Look look(Group group);
  /// Those that are settled by their hits before anybody has to wait for them, and counted as skipped. Empty: none, or
  /// the hint is not in memory.
  [[nodiscard]] std::vector<bool> known_done(Group messages);
  /// Whether messages with a hit are settled without a claim.
  [[nodiscard]] bool skips() const noexcept { return options_.trust == Trust::skip; }

  /// `skipped` messages were settled by their hits.
  void skipped(std::size_t skipped);
  /// The claims of `group` were committed, except for those whose places are in `undone`. `looked` belongs to the same
  /// messages, or has no hits.
  void settled(const Look& looked, Group group, std::span<const ledger::Claim> claims,
               std::span<const std::size_t> undone = {});

 private:
  void add(std::size_t messages, std::size_t duplicates);

  SeenHint* hint_;
  const HintOptions options_;
  const std::string consumer_;
  Metrics& metrics_;
  std::mutex mutex_;
  DuplicateShare share_;  // guarded by mutex_
};

}  // namespace oncemark::inbox
