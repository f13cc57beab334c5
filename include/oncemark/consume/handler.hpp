#pragma once

#include <chrono>
#include <cstdint>
#include <exception>
#include <span>
#include <string>
#include <vector>

#include <oncemark/consume/stage.hpp>
#include <oncemark/message/message.hpp>

namespace oncemark::consume {

/// What became of a message that did not fail.
enum class Outcome {
  done,       ///< its effect was applied
  duplicate,  ///< it had been settled before; nothing was done
  parked,     ///< it waits, in the store, behind a failed message of its key
  unsettled,  ///< nothing was done, because of what failed before it; it has to come again
};

/// What became of one message of a group: an outcome, or the exception that its handling ended with.
struct Settled {
  Outcome outcome = Outcome::done;
  std::exception_ptr failure = nullptr;  // null: `outcome` holds
  Stage stage = Stage::handler;          // of the failure; key: the message's key is not its own to use
  bool is_held = false;                  // the failure is no fault: it has to come again when there is room
  std::chrono::nanoseconds took{0};      // in the user's function, a share of it for a batch; 0: it was not called
};

/// What became of a group.
struct Handled {
  std::vector<Settled> messages = {};    // of those that were tried, from the first on
  std::exception_ptr failure = nullptr;  // not null: nothing was settled, and it is not known whose fault that is
};

class Sequences;

/// What the runner calls with messages. Users write functions and wrap them in inbox::Dedup, which is a Handler.
///
/// Threads: called by many workers at once; for messages of one key never at once and always in log order.
/// Errors:  permanent → dead-lettered now; infrastructure → tried again in place; misuse → the runner stops; any
///          other std::exception → policy; what is no std::exception → permanent.
class Handler {
 public:
  virtual ~Handler() = default;
  /// The dedup scope: what `consumer` is in every table.
  [[nodiscard]] virtual const std::string& consumer() const = 0;
  /// Called once before the first message: checks tables and settings. Throws MisuseError with the cure.
  virtual void prepare() = 0;
  /// Called after prepare() with the source topics. Throws MisuseError when their messages could not be told apart.
  virtual void check_topics(const std::vector<std::string>& topics) const { (void)topics; }
  /// Sets message.business_key, and message.content_hash where not the whole payload is meant. PermanentError: the
  /// message has no usable key and becomes a letter keyed by its coordinates. MisuseError: nothing says what the key
  /// is; the runner stops.
  virtual void identify(Message& message) const = 0;
  /// Which of these messages are settled already, as far as the process knows without asking anybody: they are settled
  /// as duplicates before they take a place in a group. As many as `messages`, or none at all (nothing is known). Called
  /// when they are read, and by workers that take them, at once.
  [[nodiscard]] virtual std::vector<bool> known_done(std::span<const Message* const>) noexcept { return {}; }
  /// Settles messages, in order. Either results for those that were tried, from the first on: at least one, and none
  /// after a failure that is misuse or infrastructure (a later message of the same key must not overtake). Or, of a
  /// group of several, only the failure of the whole. Does not throw.
  [[nodiscard]] virtual Handled handle(std::span<const Message* const> group) = 0;
  /// Whether the store that handle() needs answers on a fresh connection: tells an outage from a message's fault.
  [[nodiscard]] virtual bool is_reachable() noexcept = 0;

  // The watch against crash loops. A handler with a store keeps notes there; one without keeps none, and a message
  // that ends the process is then delivered again for ever.

  /// Notes, before they are handled, that these messages are in hand: if the process dies, the next one knows. For
  /// each its tries, this one included; 0: not noted, it has to be handled alone, after note_alone(). Empty: no watch
  /// is kept. handle() clears the notes of what it settles.
  [[nodiscard]] virtual std::vector<std::uint32_t> note(std::span<const Message* const>) { return {}; }
  /// The same for a message that will be handled with nothing beside it. Past 3 tries it must not be handled.
  [[nodiscard]] virtual std::uint32_t note_alone(const Message&) { return 1; }
  /// Takes notes back: these were not settled, but the process is alive.
  virtual void withdraw(std::span<const Message* const>) noexcept {}

  /// Its parked sequences, for retries that keep the order of a key; null: it cannot keep it.
  [[nodiscard]] virtual Sequences* sequences() noexcept { return nullptr; }
};

}  // namespace oncemark::consume
