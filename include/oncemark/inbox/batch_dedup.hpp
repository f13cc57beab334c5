#pragma once

#include <functional>

#include <oncemark/inbox/batch.hpp>
#include <oncemark/inbox/dedup.hpp>

namespace oncemark::inbox {

/// Dedup for an effect that takes all fresh messages of a transaction at once, and can so use multi-row statements.
///
/// Shape:   one claim for the group, one call of the effect with those that are fresh, one COMMIT. The effect may report
///          single messages as failed (Batch::fail): they alone go to their next attempt, the others are committed.
///          When it throws, or reports a failure that the servers are to blame for, everything is undone and it is
///          called with one message at a time, each behind a savepoint. It may therefore see a message more than
///          once before one call is committed, and must do nothing outside its transaction.
///          A group may be as small as one message: it is whatever waits, never waited for.
/// Threads: as Dedup; at most one call for messages of one key at a time.
/// Errors:  ConfigError for Effects::outside: an effect elsewhere cannot be undone with the group. Else as Dedup.
/// Crash:   as Dedup: what dies, dies together.
/// Source:  design, decision 3; docs/guarantees.md, consumer.
class BatchDedup final : public consume::Handler {
 public:
  using Effect = std::function<void(Batch&, mysql::Transaction&)>;

  BatchDedup(mysql::Pool& pool, DedupOptions options, Effect effect, Metrics& metrics = Metrics::none());
  BatchDedup(Store& store, DedupOptions options, Effect effect, Metrics& metrics = Metrics::none());

  [[nodiscard]] const std::string& consumer() const override { return dedup_.consumer(); }
  void prepare() override { dedup_.prepare(); }
  void check_topics(const std::vector<std::string>& topics) const override { dedup_.check_topics(topics); }
  void identify(Message& message) const override { dedup_.identify(message); }
  [[nodiscard]] consume::Handled handle(std::span<const Message* const> group) override { return dedup_.handle(group); }
  [[nodiscard]] bool is_reachable() noexcept override { return dedup_.is_reachable(); }
  [[nodiscard]] std::vector<std::uint32_t> note(std::span<const Message* const> messages) override {
    return dedup_.note(messages);
  }
  [[nodiscard]] std::uint32_t note_alone(const Message& message) override { return dedup_.note_alone(message); }
  void withdraw(std::span<const Message* const> messages) noexcept override { dedup_.withdraw(messages); }
  [[nodiscard]] consume::Sequences* sequences() noexcept override { return dedup_.sequences(); }

 private:
  Dedup dedup_;
};

}  // namespace oncemark::inbox
