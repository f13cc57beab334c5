#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <oncemark/consume/failure.hpp>
#include <oncemark/mysql/pool.hpp>
#include <oncemark/observe/metrics.hpp>
#include <oncemark/retry/policy.hpp>
#include <oncemark/retry/topics.hpp>

namespace oncemark::dead_letter {

struct RouterOptions {
  retry::RetryOptions retries = {};  // how often and when
  retry::TopicNames topics = {};     // where to
  std::string relay = {};            // who sends the rows · default: the relay named like the consumer
  bool spring_headers = false;       // dead letters carry Spring's kafka_dlt-* too · about 0.5 KiB a letter
};

/// Sends a failed message to a later attempt or to the dead letters, by one MySQL transaction.
///
/// Shape:   under the message's state row: the new state, failed_message or dead_letter, and the outgoing record in
///          the outbox (due later for a retry), all in one commit. The consumer's relay sends it. A message that a rule
///          discards is kept in dead_letter as `discarded`, with the rule in replay_audit, and nothing is sent.
///          What has no business key of its own (undecodable, none, another message's) is keyed by its coordinates.
///          With RetryOptions::order by_key a message that is to be tried again heads the parked sequence of its key
///          instead; nothing of it leaves the database.
/// Threads: route() from many lanes at once; each borrows one connection.
/// Errors:  MysqlError or InDoubtError: nothing is settled and the runner tries again, which finds what was committed.
/// Crash:   before the commit: the message fails again. After: it is routed; a redelivery is recognised and settled.
/// Source:  design, section 3 and decision 7; docs/guarantees.md, failure path.
class Router final : public consume::FailureSink {
 public:
  explicit Router(mysql::Pool& pool, RouterOptions options = {}, Metrics& metrics = Metrics::none());
  ~Router() override;

  /// Also warns when no relay is alive that would carry this consumer's retries and letters.
  [[nodiscard]] std::vector<TopicNeed> prepare(const std::string& consumer, const std::string& group,
                                               const std::vector<std::string>& topics) override;
  [[nodiscard]] consume::Routed route(const consume::Failure& failure) override;
  /// In one transaction, if each of them can be; else each in its own.
  [[nodiscard]] std::vector<consume::Route> route_all(std::span<const consume::Failure> failures) override;
  [[nodiscard]] consume::KeyOrder key_order() const override;

 private:
  [[nodiscard]] retry::Decision decide(const consume::Failure& failure);
  [[nodiscard]] std::optional<std::vector<consume::Route>> route_together(std::span<const consume::Failure> failures);
  [[nodiscard]] consume::Routed route_without_key(const consume::Failure& failure, const retry::Decision& decision);
  [[nodiscard]] consume::Routed route(const consume::Failure& failure, const Message& message,
                                      const ErrorSummary& error, const retry::Decision& decision);
  void report(const consume::Failure& failure, const retry::Decision& decision, consume::Routed routed);

  mysql::Pool& pool_;
  RouterOptions options_;
  Metrics& metrics_;
};

}  // namespace oncemark::dead_letter
