#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <oncemark/consume/handler.hpp>
#include <oncemark/core/error.hpp>
#include <oncemark/message/message.hpp>

namespace oncemark::consume {

/// Whether, and how, later messages of a key wait for one that failed.
struct KeyOrder {
  bool is_kept = false;
  std::uint32_t max_per_key = 1'000;        // messages that wait in one sequence
  std::uint64_t max_total = 100'000;        // and in all of a consumer's
  std::chrono::milliseconds lease{60'000};  // a head that was taken is left to its taker for so long
};

/// A sequence has no room for one more message: it is not settled, and comes again.
class SequenceFullError final : public Error {
 public:
  explicit SequenceFullError(const std::string& text) : Error(ErrorKind::unavailable, text) {}
  [[nodiscard]] std::string error_class() const override { return "sequence_full"; }
};

/// The parked sequences of a handler's consumer: messages that wait, in log order, behind a failed one of their key.
///
/// Shape:   handle() parks by itself what arrives for a key that has a sequence, unless the mode is `off`. What is
///          parked is run by the driver of whichever instance takes the head first: take(), drain() until it is over,
///          and, where the head fails, FailureSink::route().
/// Threads: set_mode(), is_full() and handle() from any; the others from the driver's thread.
/// Errors:  MysqlError, InDoubtError. drain() reports them as failure.
/// Source:  design, decision 10.
class Sequences {
 public:
  enum class Mode {
    off,    ///< nobody looks for sequences, and nothing is paid
    drain,  ///< order is not kept any more, but what is parked still is: lanes look, and the driver runs
    keep,   ///< a failed message heads a sequence
  };
  struct Counts {
    std::uint64_t keys = 0;
    std::uint64_t stopped = 0;  // of the keys: their heads are dead and wait for a person
    std::uint64_t messages = 0;
  };
  struct Due {
    std::string order_key = {};
    std::string head_key = {};
    std::chrono::microseconds wait{0};  // 0 or less: it is due
    std::uint32_t tries = 0;            // how often it was taken and nothing came of it
    std::uint32_t depth = 1;            // messages that are parked, itself included
  };
  struct Taken {
    std::string order_key = {};
    std::string head_key = {};
    std::uint64_t token = 0;
    std::uint32_t tries = 1;  // how often it was taken and nothing came of it, this time included
  };
  struct Drained {
    std::size_t done = 0;              // took effect and left the sequence
    bool is_over = true;               // the sequence is empty, or not ours any more
    bool is_locked = false;            // it is ours, but the head's row is locked elsewhere just now: give it back
    std::string head_key = {};         // not over: the next head, still taken
    std::optional<Message> head = {};  // it failed of `cause`, and nothing else was run; its transaction is rolled back
    Settled cause = {};
    std::exception_ptr failure = {};  // of what follows the head, or of the store: nothing is settled
  };

  virtual ~Sequences() = default;
  virtual void set_mode(Mode mode, const KeyOrder& order, const std::string& group) = 0;
  /// How much is parked. is_full() goes by the last count.
  virtual Counts count() = 0;
  [[nodiscard]] virtual bool is_full() const noexcept = 0;
  /// The next heads that are due, now or later, the earliest first.
  [[nodiscard]] virtual std::vector<Due> next_due(std::size_t most) = 0;
  /// Those of them that were taken; the others are somebody else's, or not due any more. They are tried once more each,
  /// whatever becomes of them: only heads that nobody has died of are to be taken together.
  [[nodiscard]] virtual std::vector<Taken> take(std::span<const Due> heads) = 0;
  /// Runs the first messages of the sequence, at most `most`, in one transaction: the head by itself, then those behind
  /// it, up to one that fails, which is left as the head. Does not throw.
  [[nodiscard]] virtual Drained drain(const Taken& taken, std::size_t most) = 0;
  /// The head as drain() would run it, without running it; nothing when it is not ours any more.
  [[nodiscard]] virtual std::optional<Message> look_at_head(const Taken& taken) = 0;
  /// Gives a head back: due in `delay`; its tries do not count. False: its row is locked elsewhere just now; ask again,
  /// or else it is due only when its lease is over.
  [[nodiscard]] virtual bool put_back(const Taken& taken, std::chrono::milliseconds delay) = 0;
};

}  // namespace oncemark::consume
