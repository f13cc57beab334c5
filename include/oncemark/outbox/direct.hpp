#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include <oncemark/message/ports.hpp>
#include <oncemark/mysql/pool.hpp>
#include <oncemark/observe/metrics.hpp>
#include <oncemark/outbox/relay.hpp>
#include <oncemark/outbox/writer.hpp>

namespace oncemark::outbox {

struct DirectOptions {
  std::chrono::milliseconds grace{
      2'000};  // the relay leaves a row to us for so long · too short makes copies, too long
               // delays what we lost · 100 ms to 1 hour
  std::size_t max_open =
      10'000;  // rows handed over and not acked; others are left to the relay · memory · 1 to 1,000,000
  SentRows sent_rows = SentRows::kept;               // as RelayOptions::sent_rows
  std::chrono::milliseconds report_timeout{10'000};  // no ack after it: the relay sends the row · > 0
  std::function<void()> nudge = {};  // called after the commit of a row with a key: [&relay] { relay.nudge(); }

  void validate() const;
};

struct DirectCounts {
  std::uint64_t sent = 0;  // acked
  std::uint64_t left = 0;  // not sent, or not acked: left to the relay
};

/// Appends to the outbox and, for rows without a key, sends from memory right after the commit: without waiting for a poll,
/// and without reading the row again.
///
/// Shape:   the row is there as with append(), but its relay sees it only after `grace`. Acked rows are marked by then, so
///          that a healthy run makes no copies; whatever went wrong, the relay sends the row. Rows with a key, which have
///          an order, and delayed ones are the relay's from the start. The event time is the process's, unless the draft
///          has one.
/// Threads: append() on the thread that owns `tx`; counts() from any. The Sink belongs to this object, which has two
///          threads. A relay of the drafts' name must run somewhere.
/// Errors:  the constructor throws MisuseError for options. append(): as outbox::append().
/// Crash:   before the commit: no row, no message. After it: the relay sends the row after `grace`, a copy if the broker
///          had it already.
/// Source:  design, decision 12.
class DirectSend final {
 public:
  DirectSend(mysql::Pool& pool, Sink& sink, DirectOptions options = {}, Metrics& metrics = Metrics::none());
  ~DirectSend();
  DirectSend(const DirectSend&) = delete;
  DirectSend& operator=(const DirectSend&) = delete;

  std::string append(mysql::Transaction& tx, const Draft& draft);
  [[nodiscard]] DirectCounts counts() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace oncemark::outbox
