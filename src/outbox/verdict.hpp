#pragma once

#include <string>

#include <oncemark/core/clock.hpp>

#include "outbox/dispatch.hpp"
#include "outbox/trouble_log.hpp"
#include "outbox/window.hpp"

namespace oncemark::outbox {

/// What a relay makes of its rounds: whom silence is held against, and how long it rests when nobody answers.
///
/// Threads: the relay's.
/// Errors:  those of Dispatch; none from give_up().
class Verdict final {
 public:
  Verdict(const std::string& relay, Window& window, Dispatch& dispatch)
      : window_(window), dispatch_(dispatch), trouble_(relay) {}

  /// Silence is held against rows only when the broker answered for others. False when nobody answers at all: then there
  /// is no point in going on before next_try().
  bool judge(const Round& result);
  /// Inside a catch block: the round has failed. Rows that were in flight stay as they are, and are sent again.
  void give_up() noexcept;
  /// There was nothing to send, or nothing to complain about.
  void is_well() noexcept { in_vain_ = 0; }
  void say(const std::string& error_class, const std::string& why) { trouble_.say(error_class, why); }
  void over() { trouble_.over(); }

  [[nodiscard]] bool is_in_trouble() const noexcept { return in_vain_ > 0; }
  [[nodiscard]] SteadyTime next_try() const noexcept { return next_try_; }

 private:
  void try_later() noexcept;

  Window& window_;
  Dispatch& dispatch_;
  TroubleLog trouble_;
  int in_vain_ = 0;           // rounds in a row: outages and errors
  std::string outage_error_;  // of the rows that are set aside
  SteadyTime next_try_{};
};

}  // namespace oncemark::outbox
