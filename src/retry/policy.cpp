#include <oncemark/retry/policy.hpp>

#include <string>

namespace oncemark::retry {

void RetryOptions::validate() const {
  if (max_attempts < 1 || max_attempts > 1'000) {
    throw ConfigError("RetryOptions::max_attempts",
                      "RetryOptions::max_attempts is " + std::to_string(max_attempts) + "; it must be 1 to 1,000");
  }
  backoff.validate();
  for (const auto delay : delays) {
    if (delay < std::chrono::milliseconds::zero()) {
      throw ConfigError("RetryOptions::delays",
                        "RetryOptions::delays holds " + std::to_string(delay.count()) + " ms; each must be 0 or more");
    }
  }
}

int RetryOptions::attempts() const noexcept {
  return delays.empty() ? max_attempts : static_cast<int>(delays.size()) + 1;
}

Decision decide(const RetryOptions& options, ErrorKind kind, int failed, std::uint64_t random) {
  if (kind == ErrorKind::permanent || failed >= options.attempts()) return {.retry = false};
  if (!options.delays.empty()) return {.retry = true, .delay = options.delays[static_cast<std::size_t>(failed - 1)]};
  return {.retry = true, .delay = delay_after(options.backoff, failed, random)};
}

}  // namespace oncemark::retry
