#include <oncemark/core/verdict.hpp>

#include <oncemark/core/error.hpp>

namespace oncemark {

void Verdict::enforce() const {
  switch (kind_) {
    case Kind::done:
      return;
    case Kind::retry_after:
      throw RetryAfterError(delay_, reason_);
    case Kind::dead_letter:
      throw DeadLetterError(reason_);
  }
}

}  // namespace oncemark
