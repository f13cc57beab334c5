#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include <oncemark/message/ports.hpp>
#include <oncemark/mysql/pool.hpp>
#include <oncemark/observe/metrics.hpp>
#include <oncemark/outbox/writer.hpp>
#include <oncemark/transactional/half.hpp>

namespace oncemark::transactional {

struct SenderOptions {
  std::string name = {};  // half messages go to half.{name}, which must exist · [A-Za-z0-9._-], 1 to 100 characters
  std::chrono::milliseconds first_check{6'000};  // from the half message to the first check of its outcome · above the
                                                 // usual length of a transaction · 1 ms to 6 hours
  std::chrono::milliseconds half_timeout{10'000};  // wait for the broker's ack before the transaction · > 0
  std::chrono::milliseconds start_within{
      3'600'000};                 // a transaction that begins later than this after its half message
                                  // is refused · far below CheckBackOptions::keep_rows · > first_check, at most 12 h
  std::size_t max_open = 10'000;  // records handed over and not acked · memory · 1 to 1,000,000

  void validate() const;
};

struct SenderCounts {
  std::uint64_t halves = 0;  // acked half messages
  std::uint64_t sent = 0;    // messages acked after their commit; the others are the check-back's
};

/// Sends a message with a local transaction: half message → transaction → message.
///
///   transactional::Sender orders{db, out, {.name = "orders"}};
///   orders.send({.topic = "orders", .key = id, .payload = json}, [&](mysql::Transaction& tx) { … });
///
/// Shape:   the broker acks a half message, which no consumer sees; then the transaction runs, with a row of ours in
///          `local_transaction`; after its commit the message itself is sent. Whatever is left undone by a crash is found
///          by a CheckBack of the same name, one of which must run somewhere. No order among messages.
/// Threads: send(), prepare(), commit(), roll_back() and counts() from any thread. The Sink belongs to this object, which
///          has two threads. send() waits for the half's ack, and borrows a connection.
/// Errors:  the constructor throws MisuseError for options.
/// Crash:   at any point: the message is sent if the transaction committed, and not if it did not. Copies are possible.
/// Source:  design, decision 13; docs/choosing.md says when the outbox does the same with less.
class Sender final {
 public:
  Sender(mysql::Pool& pool, Sink& sink, SenderOptions options, Metrics& metrics = Metrics::none());
  ~Sender();
  Sender(const Sender&) = delete;
  Sender& operator=(const Sender&) = delete;

  /// Runs `work` in a transaction and sends the message if it commits. Returns the message id once it has committed: the
  /// message is then on its way.
  ///
  /// Shape:   as Pool::transact(): the whole function runs again on 1205, 1213 and 1020. `draft.delay`, `relay` and
  ///          `business_key` must be left alone.
  /// Errors:  UnavailableError when the broker does not take the half message: nothing has happened. Error{transient}
  ///          when the check-back had given the message up before `work` began: nothing has happened, send it anew.
  ///          InDoubtError: the check-back finds out, do not send again. PermanentError for a draft that cannot be sent,
  ///          or an id that was sent before. What `work` throws rolls back and goes on to the caller.
  std::string send(const outbox::Draft& draft, const std::function<void(mysql::Transaction&)>& work);

  /// For transactions in another store: the half message alone. Its outcome must then be reported; if it never is, the
  /// check-back asks its Check. Errors as of send().
  [[nodiscard]] HalfMessage prepare(const outbox::Draft& draft);
  /// The transaction of `half` has committed: the message is sent. Returns at once.
  void commit(const HalfMessage& half);
  /// It has not, and never will: nobody asks about it any more. A hint: what cannot be written down is asked about.
  void roll_back(const HalfMessage& half);

  [[nodiscard]] SenderCounts counts() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace oncemark::transactional
