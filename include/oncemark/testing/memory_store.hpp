#pragma once

#include <map>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include <oncemark/inbox/store.hpp>
#include <oncemark/message/codec.hpp>
#include <oncemark/testing/recording_session.hpp>

namespace oncemark::testing {

/// An inbox::Store in memory: marks of one process, gone with it. For unit tests of handlers.
///
/// Shape:   the effect gets a transaction over a RecordingSession, `session()`, which records its statements and
///          answers from a script. A mark is kept only if the effect returns.
/// Threads: any, one settle() at a time.
/// Errors:  settle() throws what the effect threw.
class MemoryStore final : public inbox::Store {
 public:
  void prepare() override {}

  std::vector<ledger::Claim> settle(const std::string& consumer, std::span<const Message* const> group,
                                    const Effects& effects) override {
    const std::lock_guard lock(mutex_);
    auto marks = marks_;
    std::vector<ledger::Claim> claims;
    for (const Message* message : group) {
      const std::uint64_t hash = content_hash(*message);
      const auto [mark, is_fresh] = marks.emplace(std::pair(consumer, message->business_key), hash);
      claims.push_back(
          {.is_fresh = is_fresh, .standing = {.payload_hash = mark->second}, .is_key_conflict = mark->second != hash});
    }
    mysql::UnitOfWork unit(session_);
    for (const std::size_t failed : effects(claims, unit.tx())) marks.erase({consumer, group[failed]->business_key});
    unit.commit();
    marks_ = std::move(marks);
    return claims;
  }

  [[nodiscard]] bool is_reachable() noexcept override { return true; }

  [[nodiscard]] bool is_marked(const std::string& consumer, const std::string& business_key) const {
    const std::lock_guard lock(mutex_);
    return marks_.contains({consumer, business_key});
  }
  [[nodiscard]] RecordingSession& session() noexcept { return session_; }

 private:
  mutable std::mutex mutex_;
  std::map<std::pair<std::string, std::string>, std::uint64_t> marks_;  // guarded by mutex_
  RecordingSession session_;
};

}  // namespace oncemark::testing
