#include <oncemark/retry/policy.hpp>

#include <algorithm>
#include <charconv>

namespace oncemark::retry {
namespace {

using std::chrono::milliseconds;

constexpr int kDefaultAttempts = 4;
constexpr milliseconds kLongestAge = std::chrono::hours(24 * 365);

void require(bool holds, const std::string& field, const std::string& value, const char* range) {
  if (holds) return;
  throw ConfigError(field, field + " is " + value + "; allowed: " + range);
}

void check_attempts(const std::string& field, const std::optional<int>& attempts) {
  if (attempts) require(*attempts >= 1 && *attempts <= 1'000, field, std::to_string(*attempts), "1 to 1,000");
}

void validate(const Rule& rule, const std::string& name) {
  for (const std::string& error : rule.errors) {
    require(!error.empty(), name + ".errors", "\"\"", "names of errors, like mysql.1062 or shop::* (\"*\" is any)");
  }
  for (const int number : rule.mysql) {
    require(number > 0 && number <= 65'535, name + ".mysql", std::to_string(number), "1 to 65,535");
  }
  require(rule.tries >= 1 && rule.tries <= 100, name + ".tries", std::to_string(rule.tries), "1 to 100");
  check_attempts(name + ".max_attempts", rule.max_attempts);
  if (rule.delays) rule.delays->validate((name + ".delays").c_str());
  if (rule.action != Action::retry_later && (rule.delays || rule.max_attempts)) {
    throw ConfigError(name, name + " has delays or max_attempts, but its action is " +
                                std::string(to_string(rule.action)) + "; they belong to retry_later");
  }
}

int attempts_of(const std::optional<int>& chosen, const Schedule& delays, int otherwise) noexcept {
  if (chosen) return *chosen;
  if (const auto length = delays.length()) return *length + 1;
  return otherwise;
}

/// '*' is any text, '?' any one character.
bool matches(std::string_view pattern, std::string_view text) noexcept {
  std::size_t p = 0;
  std::size_t t = 0;
  std::size_t star = std::string_view::npos;  // the last one, to come back to
  std::size_t resume = 0;
  while (t < text.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      resume = t;
    } else if (p < pattern.size() && (pattern[p] == '?' || pattern[p] == text[t])) {
      ++p;
      ++t;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      t = ++resume;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

/// The number in "mysql.1062"; 0 for an error of another kind.
int mysql_number(std::string_view error_class) noexcept {
  constexpr std::string_view kMysql = "mysql.";
  if (!error_class.starts_with(kMysql)) return 0;
  int number = 0;
  const auto [stopped_at, error] =
      std::from_chars(error_class.data() + kMysql.size(), error_class.data() + error_class.size(), number);
  return error == std::errc{} && stopped_at == error_class.data() + error_class.size() ? number : 0;
}

bool holds(const Rule& rule, const FailureFacts& facts) noexcept {
  if (!rule.errors.empty()) {
    const bool is_named = std::ranges::any_of(rule.errors, [&](const std::string& pattern) {
      return matches(pattern, facts.error.error_class) || matches(pattern, facts.error.type);
    });
    if (!is_named) return false;
  }
  if (!rule.mysql.empty()) {
    const int number = mysql_number(facts.error.error_class);
    if (std::ranges::find(rule.mysql, number) == rule.mysql.end()) return false;
  }
  if (!rule.when) return true;
  try {
    return rule.when(facts);
  } catch (...) {
    return false;
  }
}

/// Whether the rule has something to say about this failure, beyond its conditions.
bool applies(const Rule& rule, const FailureFacts& facts) noexcept {
  if (rule.action == Action::dead_letter || rule.action == Action::discard) return true;
  return facts.is_repeatable && (rule.action == Action::retry_later || facts.tried_here < rule.tries);
}

Decision later(const RetryOptions& options, const FailureFacts& facts, int attempts, milliseconds delay,
               std::string reason) {
  if (facts.failed >= attempts) {
    return {.action = Action::dead_letter,
            .reason = "attempt " + std::to_string(facts.failed) + " of " + std::to_string(attempts)};
  }
  if (options.max_age && facts.age + delay > *options.max_age) {
    return {.action = Action::dead_letter,
            .reason = "the next attempt would come more than " + std::to_string(options.max_age->count()) +
                      " ms after the first failure"};
  }
  return {.action = Action::retry_later, .delay = delay, .reason = std::move(reason)};
}

}  // namespace

std::string_view to_string(Action action) noexcept {
  switch (action) {
    case Action::retry_later:
      return "retry_later";
    case Action::retry_here:
      return "retry_here";
    case Action::dead_letter:
      return "dead_letter";
    case Action::discard:
      return "discard";
  }
  return "unknown";
}

void RetryOptions::validate() const {
  check_attempts("RetryOptions::max_attempts", max_attempts);
  delays.validate("RetryOptions::delays");
  if (max_age) {
    require(*max_age > milliseconds::zero() && *max_age <= kLongestAge, "RetryOptions::max_age",
            std::to_string(max_age->count()) + " ms", "above 0 ms, to 365 days");
  }
  for (std::size_t i = 0; i < rules.size(); ++i) {
    retry::validate(rules[i], "RetryOptions::rules[" + std::to_string(i) + "]");
  }
  require(max_parked_per_key >= 2 && max_parked_per_key <= 1'000'000, "RetryOptions::max_parked_per_key",
          std::to_string(max_parked_per_key), "2 to 1,000,000");
  require(max_parked >= 2 && max_parked <= 100'000'000, "RetryOptions::max_parked", std::to_string(max_parked),
          "2 to 100,000,000");
  require(head_lease >= std::chrono::seconds(1) && head_lease <= std::chrono::hours(1), "RetryOptions::head_lease",
          std::to_string(head_lease.count()) + " ms", "1 s to 1 h");
}

int RetryOptions::attempts() const noexcept { return attempts_of(max_attempts, delays, kDefaultAttempts); }

bool RetryOptions::needs_age() const noexcept {
  return max_age || std::ranges::any_of(rules, [](const Rule& rule) { return rule.when != nullptr; });
}

Decision decide(const RetryOptions& options, const FailureFacts& facts, std::uint64_t random) {
  if (facts.error.is_given_up) return {.action = Action::dead_letter, .reason = "the handler's decision"};
  if (facts.error.retry_after && facts.is_repeatable) {
    return later(options, facts, options.attempts(),
                 std::clamp(*facts.error.retry_after, milliseconds::zero(), kLongestDelay), "the handler's decision");
  }
  for (std::size_t i = 0; i < options.rules.size(); ++i) {
    const Rule& rule = options.rules[i];
    if (!applies(rule, facts) || !holds(rule, facts)) continue;
    std::string reason = "rule " + std::to_string(i);
    if (rule.action != Action::retry_later) return {.action = rule.action, .reason = std::move(reason)};
    const Schedule& delays = rule.delays ? *rule.delays : options.delays;
    const int attempts = rule.delays ? attempts_of(rule.max_attempts, delays, options.attempts())
                                     : rule.max_attempts.value_or(options.attempts());
    return later(options, facts, attempts, delays.after(facts.failed, random), std::move(reason));
  }
  if (!facts.is_repeatable) return {.action = Action::dead_letter, .reason = "the record is unusable"};
  if (facts.error.kind == ErrorKind::permanent) return {.action = Action::dead_letter, .reason = "a permanent error"};
  return later(options, facts, options.attempts(), options.delays.after(facts.failed, random), "no rule");
}

}  // namespace oncemark::retry
