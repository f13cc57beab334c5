#include "outbox/verdict.hpp"

#include <oncemark/core/backoff.hpp>
#include <oncemark/core/error.hpp>
#include <oncemark/core/id.hpp>

namespace oncemark::outbox {
namespace {

using std::chrono::milliseconds;

constexpr Backoff kTrouble{.initial = milliseconds(250), .factor = 2.0, .cap = milliseconds(5'000), .jitter = 0.2};

}  // namespace

bool Verdict::judge(const Round& result) {
  if (result.acked == 0 && !result.silent.empty()) {
    window_.set_aside(result.silent);
    outage_error_ = result.error;
    trouble_.say("outage", result.error);
    try_later();
    return false;
  }
  in_vain_ = 0;
  if (result.acked == 0) return true;
  dispatch_.back_off(window_.take_aside(), outage_error_);
  dispatch_.back_off(result.silent, result.error);
  return true;
}

void Verdict::give_up() noexcept {
  const ErrorSummary error = summarize_current_exception();
  trouble_.say(error.error_class, error.text);
  try {
    dispatch_.discard();
  } catch (...) {
    const ErrorSummary second = summarize_current_exception();
    trouble_.say(second.error_class, second.text);
  }
  try_later();
}

void Verdict::try_later() noexcept {
  ++in_vain_;
  next_try_ = std::chrono::steady_clock::now() + delay_after(kTrouble, in_vain_, random_token());
}

}  // namespace oncemark::outbox
