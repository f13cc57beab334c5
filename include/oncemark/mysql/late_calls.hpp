#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include <oncemark/core/backoff.hpp>
#include <oncemark/mysql/transaction.hpp>
#include <oncemark/observe/metrics.hpp>

namespace oncemark::mysql {

struct LateCallOptions {
  int tries = 10;  // of one call, the first one included · 1: only right after the commit · 1 to 1,000
  Backoff backoff{.initial = std::chrono::milliseconds(200),
                  .factor = 2.0,
                  .cap = std::chrono::milliseconds(30'000),
                  .jitter = 0.2};    // between two tries of one call
  std::size_t max_waiting = 10'000;  // calls that wait for another try · memory; one more is given up · 1 to 1,000,000

  void validate() const;
};

/// Calls that follow a commit and are tried again in this process when they throw.
///
///   mysql::LateCalls calls;
///   calls.after_commit(tx, "welcome mail", [&mailer, to] { mailer.send(to); });
///
/// Shape:   the first try is a hook of the transaction: right after the commit, never before it, never after a rollback
///          or a commit in doubt. A call that throws is tried again later, in the order of the due times. What a call
///          uses must outlive this object.
/// Threads: after_commit() from any thread that owns `tx`; the first try runs on that thread, later ones on a thread of
///          this object. The destructor waits for the try that is running.
/// Errors:  the constructor throws MisuseError for options. A failed try is logged and counted; after the last one, and
///          for what still waits in the destructor, an error says that the call is given up.
/// Crash:   a call that was not made is lost. What must not be lost goes into the outbox.
/// Source:  design, decision 12; docs/choosing.md.
class LateCalls final {
 public:
  explicit LateCalls(LateCallOptions options = {}, Metrics& metrics = Metrics::none());
  ~LateCalls();
  LateCalls(const LateCalls&) = delete;
  LateCalls& operator=(const LateCalls&) = delete;

  /// `name` says in the log what it is about; no payload.
  void after_commit(Transaction& tx, std::string name, std::function<void()> call);
  /// How many wait for another try.
  [[nodiscard]] std::size_t waiting() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace oncemark::mysql
