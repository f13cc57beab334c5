#include <oncemark/retry/policy.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace oncemark::retry {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;

/// A failure of a kind and class, the `failed`-th of its life.
FailureFacts failure(std::string error_class = "std::runtime_error", int failed = 1,
                     ErrorKind kind = ErrorKind::transient) {
  return {.error = {.error_class = error_class, .text = "text", .kind = kind, .type = error_class}, .failed = failed};
}
FailureFacts permanent() { return failure("permanent", 1, ErrorKind::permanent); }

template <typename Thrown>
FailureFacts thrown(const Thrown& error, int failed = 1) {
  try {
    throw error;
  } catch (...) {
    return {.error = summarize_current_exception(), .failed = failed};
  }
}

Action action(const RetryOptions& options, const FailureFacts& facts) { return decide(options, facts, 0).action; }

TEST(Policy, GivesUpAPermanentErrorAtOnce) { EXPECT_EQ(action({}, permanent()), Action::dead_letter); }

TEST(Policy, GivesUpAfterTheLastAttempt) {
  const RetryOptions options{.max_attempts = 3};

  EXPECT_EQ(action(options, failure("e", 2)), Action::retry_later);
  EXPECT_EQ(action(options, failure("e", 3)), Action::dead_letter);
  EXPECT_EQ(decide(options, failure("e", 3), 0).reason, "attempt 3 of 3");
}

TEST(Policy, FollowsAListOfDelaysToItsEnd) {
  const RetryOptions options{.delays = {5s, 60s}};

  EXPECT_EQ(decide(options, failure("e", 1), 0).delay, 5s);
  EXPECT_EQ(decide(options, failure("e", 2), 0).delay, 60s);
  EXPECT_EQ(action(options, failure("e", 3)), Action::dead_letter);
}

TEST(Policy, RepeatsTheLastDelayWhenMoreAttemptsAreAskedFor) {
  const RetryOptions options{.max_attempts = 10, .delays = {5s, 60s}};

  EXPECT_EQ(decide(options, failure("e", 9), 0).delay, 60s);
  EXPECT_EQ(action(options, failure("e", 10)), Action::dead_letter);
}

TEST(Policy, TriesFourTimesWithGrowingDelaysUnlessTold) {
  EXPECT_EQ(decide({}, failure("e", 1), 0).delay, 1s);
  EXPECT_EQ(decide({}, failure("e", 3), 0).delay, 25s);
  EXPECT_EQ(action({}, failure("e", 4)), Action::dead_letter);
}

TEST(Policy, GivesUpWhatWouldComeTooLateAfterItsFirstFailure) {
  const RetryOptions options{.max_attempts = 100, .delays = {10s}, .max_age = 60s};
  FailureFacts facts = failure("e", 7);

  facts.age = 50s;
  EXPECT_EQ(action(options, facts), Action::retry_later);
  facts.age = 50s + 1ms;
  EXPECT_EQ(action(options, facts), Action::dead_letter);
  EXPECT_THAT(decide(options, facts, 0).reason, HasSubstr("60000 ms"));
}

TEST(Policy, DoesAsTheHandlerSays) {
  const RetryOptions options{.delays = {5s}, .rules = {{.action = Action::discard}}};

  EXPECT_EQ(decide(options, thrown(RetryAfterError(7s, "busy")), 0).delay, 7s);
  EXPECT_EQ(action(options, thrown(DeadLetterError("closed"))), Action::dead_letter);
  EXPECT_EQ(action(options, thrown(PermanentError("rules come first"))), Action::discard);
}

TEST(Policy, KeepsAHandlersDelayWithinZeroAndThirtyDays) {
  EXPECT_EQ(decide({}, thrown(RetryAfterError(-1s, "")), 0).delay, 0ms);
  EXPECT_EQ(decide({}, thrown(RetryAfterError(24h * 365, "")), 0).delay, kLongestDelay);
}

TEST(Policy, CountsAHandlersDelayAsAnAttempt) {
  const RetryOptions options{.max_attempts = 3, .max_age = 60s};

  EXPECT_EQ(action(options, thrown(RetryAfterError(1s, ""), 2)), Action::retry_later);
  EXPECT_EQ(action(options, thrown(RetryAfterError(1s, ""), 3)), Action::dead_letter);
  EXPECT_EQ(action(options, thrown(RetryAfterError(61s, ""), 1)), Action::dead_letter);
}

TEST(Policy, TakesTheFirstRuleThatHolds) {
  const RetryOptions options{.rules = {{.errors = {"http.404"}, .action = Action::discard},
                                       {.errors = {"http.*"}, .action = Action::dead_letter},
                                       {.errors = {"http.4??", "db.*"}, .action = Action::retry_here}}};

  EXPECT_EQ(action(options, failure("http.404")), Action::discard);
  EXPECT_EQ(action(options, failure("http.500")), Action::dead_letter);
  EXPECT_EQ(action(options, failure("db.busy")), Action::retry_here);
  EXPECT_EQ(action(options, failure("other")), Action::retry_later);
  EXPECT_EQ(decide(options, failure("http.500"), 0).reason, "rule 1");
}

TEST(Policy, KnowsAnErrorByItsClassAndByItsType) {
  struct NoStock : PermanentError {
    using PermanentError::PermanentError;
  };
  const auto by = [](std::string name) {
    return RetryOptions{.rules = {{.errors = {std::move(name)}, .action = Action::discard}}};
  };

  EXPECT_EQ(action(by("*NoStock"), thrown(NoStock(""))), Action::discard);
  EXPECT_EQ(action(by("permanent"), thrown(NoStock(""))), Action::discard);
  EXPECT_EQ(action(by("std::out_of_range"), thrown(std::out_of_range(""))), Action::discard);
  EXPECT_EQ(action(by("int"), thrown(42)), Action::discard);
  EXPECT_EQ(action(by("std::out"), thrown(std::out_of_range(""))), Action::retry_later);
}

TEST(Policy, MatchesPatternsOfStarsAndQuestionMarks) {
  const auto holds = [](std::string pattern, std::string name) {
    return action({.rules = {{.errors = {std::move(pattern)}, .action = Action::discard}}}, failure(std::move(name))) ==
           Action::discard;
  };

  EXPECT_TRUE(holds("*", ""));
  EXPECT_TRUE(holds("a*b*c", "a-b-b-c"));
  EXPECT_TRUE(holds("*ab", "aab"));
  EXPECT_TRUE(holds("a?c**", "abc"));
  EXPECT_FALSE(holds("a*b*c", "a-c-b"));
  EXPECT_FALSE(holds("a?c", "ac"));
  EXPECT_FALSE(holds("a", "A"));
  EXPECT_FALSE(holds("abc", "ab"));
}

TEST(Policy, KnowsMySqlErrorsByNumber) {
  const RetryOptions options{.rules = {{.mysql = {1062, 1406}, .action = Action::discard}}};

  EXPECT_EQ(action(options, failure("mysql.1062", 1, ErrorKind::permanent)), Action::discard);
  EXPECT_EQ(action(options, failure("mysql.1063", 1, ErrorKind::permanent)), Action::dead_letter);
  EXPECT_EQ(action(options, failure("mysql.1062x")), Action::retry_later);
  EXPECT_EQ(action(options, failure("1062")), Action::retry_later);
}

TEST(Policy, AsksAPredicateAndTakesItsFailureForANo) {
  const RetryOptions options{
      .rules = {
          {.when = [](const FailureFacts&) -> bool { throw std::runtime_error("oops"); }, .action = Action::discard},
          {.when = [](const FailureFacts& facts) { return facts.failed > 1 && facts.topic == "orders"; },
           .action = Action::dead_letter}}};
  FailureFacts facts = failure("e", 2);

  EXPECT_EQ(action(options, facts), Action::retry_later);
  facts.topic = "orders";
  EXPECT_EQ(action(options, facts), Action::dead_letter);
  EXPECT_TRUE(options.needs_age());
  EXPECT_FALSE(RetryOptions{}.needs_age());
}

TEST(Policy, WantsAllConditionsOfARuleToHold) {
  const RetryOptions options{.rules = {{.errors = {"mysql.*"},
                                        .mysql = {1062},
                                        .when = [](const FailureFacts& facts) { return facts.failed == 1; },
                                        .action = Action::discard}}};

  EXPECT_EQ(action(options, failure("mysql.1062", 1)), Action::discard);
  EXPECT_EQ(action(options, failure("mysql.1062", 2)), Action::retry_later);
  EXPECT_EQ(action(options, failure("mysql.1048", 1)), Action::retry_later);
}

TEST(Policy, LetsARuleHaveDelaysAndAttemptsOfItsOwn) {
  const RetryOptions options{.delays = {5s, 60s},
                             .rules = {{.errors = {"list"}, .delays = Schedule{1s}},
                                       {.errors = {"more"}, .delays = Schedule::fixed(2s), .max_attempts = 9},
                                       {.errors = {"fixed"}, .delays = Schedule::fixed(3s)},
                                       {.errors = {"few"}, .max_attempts = 1},
                                       {.errors = {"permanent"}}}};

  EXPECT_EQ(decide(options, failure("list", 1), 0).delay, 1s);
  EXPECT_EQ(action(options, failure("list", 2)), Action::dead_letter);
  EXPECT_EQ(decide(options, failure("more", 8), 0).delay, 2s);
  EXPECT_EQ(action(options, failure("more", 9)), Action::dead_letter);
  EXPECT_EQ(decide(options, failure("fixed", 2), 0).delay, 3s);
  EXPECT_EQ(action(options, failure("fixed", 3)), Action::dead_letter);
  EXPECT_EQ(action(options, failure("few", 1)), Action::dead_letter);
  EXPECT_EQ(decide(options, permanent(), 0).delay, 5s) << "a rule may try again what is called permanent";
}

TEST(Policy, TriesInPlaceSoOftenAndThenAsksTheNextRule) {
  const RetryOptions options{.rules = {{.errors = {"flaky"}, .action = Action::retry_here, .tries = 2},
                                       {.errors = {"flaky"}, .action = Action::discard}}};
  FailureFacts facts = failure("flaky");

  for (facts.tried_here = 0; facts.tried_here < 2; ++facts.tried_here) {
    EXPECT_EQ(action(options, facts), Action::retry_here);
  }
  EXPECT_EQ(action(options, facts), Action::discard);
}

TEST(Policy, NeverTriesAnUnusableRecordAgain) {
  const auto with = [](Action of_rule) { return RetryOptions{.rules = {{.action = of_rule}}}; };
  FailureFacts facts = failure("key_conflict");
  facts.is_repeatable = false;

  EXPECT_EQ(action({}, facts), Action::dead_letter);
  EXPECT_EQ(action(with(Action::retry_later), facts), Action::dead_letter);
  EXPECT_EQ(action(with(Action::retry_here), facts), Action::dead_letter);
  EXPECT_EQ(action(with(Action::discard), facts), Action::discard);
}

TEST(Policy, HandsItsRandomBitsToTheSchedule) {
  const RetryOptions options{.max_attempts = 5, .delays = Schedule::fixed(10s).full_jitter()};

  EXPECT_EQ(decide(options, failure(), 0).delay, 10s);
  EXPECT_EQ(decide(options, failure(), std::uint64_t{1} << 63).delay, 5s);
}

/// The field that validate() complains about; empty when it does not.
std::string complaint(const RetryOptions& options) {
  try {
    options.validate();
    return {};
  } catch (const ConfigError& error) {
    return error.key();
  }
}

TEST(RetryOptions, NameTheFieldThatIsOutsideItsRange) {
  EXPECT_EQ(complaint({}), "");
  EXPECT_EQ(complaint({.max_attempts = 0}), "RetryOptions::max_attempts");
  EXPECT_EQ(complaint({.max_attempts = 1'001}), "RetryOptions::max_attempts");
  EXPECT_EQ(complaint({.delays = {-1ms}}), "RetryOptions::delays");
  EXPECT_EQ(complaint({.max_age = 0ms}), "RetryOptions::max_age");
  EXPECT_EQ(complaint({.rules = {{}, {.errors = {""}}}}), "RetryOptions::rules[1].errors");
  EXPECT_EQ(complaint({.rules = {{.mysql = {0}}}}), "RetryOptions::rules[0].mysql");
  EXPECT_EQ(complaint({.rules = {{.action = Action::retry_here, .tries = 0}}}), "RetryOptions::rules[0].tries");
  EXPECT_EQ(complaint({.rules = {{.max_attempts = 0}}}), "RetryOptions::rules[0].max_attempts");
  EXPECT_EQ(complaint({.rules = {{.delays = Schedule::fixed(-1s)}}}), "RetryOptions::rules[0].delays");
  EXPECT_EQ(complaint({.rules = {{.action = Action::discard, .max_attempts = 2}}}), "RetryOptions::rules[0]");
}

}  // namespace
}  // namespace oncemark::retry
