#include <oncemark/core/error.hpp>

#include <new>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace oncemark {
namespace shop {

struct OutOfStock : std::runtime_error {
  using std::runtime_error::runtime_error;
};

}  // namespace shop

namespace {

class LockWait final : public Error {
 public:
  LockWait() : Error(ErrorKind::transient, "lock wait") {}
  [[nodiscard]] bool is_infrastructure() const noexcept override { return true; }
  [[nodiscard]] std::string error_class() const override { return "mysql.1205"; }
};

template <typename Thrown>
ErrorSummary summary_of(const Thrown& thrown) {
  try {
    throw thrown;
  } catch (...) {
    return summarize_current_exception();
  }
}

TEST(Error, SaysByItsKindWhetherTryingAgainCanHelp) {
  EXPECT_TRUE(Error(ErrorKind::transient, "").retryable());
  EXPECT_TRUE(UnavailableError("").retryable());
  EXPECT_TRUE(InDoubtError("").retryable());
  EXPECT_FALSE(PermanentError("").retryable());
  EXPECT_FALSE(MisuseError("").retryable());
}

TEST(Error, BlamesServersOnlyWhenDownOrInDoubt) {
  EXPECT_TRUE(UnavailableError("").is_infrastructure());
  EXPECT_TRUE(InDoubtError("").is_infrastructure());
  EXPECT_FALSE(Error(ErrorKind::transient, "").is_infrastructure());
  EXPECT_FALSE(PermanentError("").is_infrastructure());
}

TEST(Error, IsGroupedByItsKindUnlessItKnowsBetter) {
  EXPECT_EQ(PermanentError("").error_class(), "permanent");
  EXPECT_EQ(UnavailableError("").error_class(), "unavailable");
  EXPECT_EQ(InDoubtError("").error_class(), "in_doubt");
  EXPECT_EQ(ConfigError("relay.shards", "").error_class(), "misuse");
  EXPECT_EQ(Error(ErrorKind::transient, "").error_class(), "transient");
  EXPECT_EQ(LockWait().error_class(), "mysql.1205");
}

TEST(ErrorSummary, TakesClassKindAndBlameFromOurOwnErrors) {
  const ErrorSummary summary = summary_of(LockWait());

  EXPECT_EQ(summary.error_class, "mysql.1205");
  EXPECT_EQ(summary.text, "lock wait");
  EXPECT_EQ(summary.kind, ErrorKind::transient);
  EXPECT_TRUE(summary.is_infrastructure);
}

TEST(ErrorSummary, NamesTheTypeOfAForeignException) {
  const ErrorSummary summary = summary_of(shop::OutOfStock("no boots left"));

  EXPECT_EQ(summary.error_class, "oncemark::shop::OutOfStock");
  EXPECT_EQ(summary.text, "no boots left");
  EXPECT_EQ(summary.kind, ErrorKind::transient);
  EXPECT_FALSE(summary.is_infrastructure);
  EXPECT_EQ(summary_of(std::bad_alloc()).error_class, "std::bad_alloc");
}

TEST(ErrorSummary, CallsWhatIsNoExceptionUnknownAndPermanent) {
  const ErrorSummary summary = summary_of(42);

  EXPECT_EQ(summary.error_class, "unknown");
  EXPECT_EQ(summary.text, "threw int, which is no std::exception");
  EXPECT_EQ(summary.kind, ErrorKind::permanent);
}

TEST(ErrorSummary, KnowsTheTypeThatAUserHasDerivedFromOurs) {
  struct NoAddress : PermanentError {
    using PermanentError::PermanentError;
  };
  const ErrorSummary summary = summary_of(NoAddress("no street"));

  EXPECT_EQ(summary.error_class, "permanent");
  EXPECT_THAT(summary.type, ::testing::EndsWith("NoAddress"));
  EXPECT_EQ(summary_of(shop::OutOfStock("")).type, "oncemark::shop::OutOfStock");
  EXPECT_EQ(summary_of(42).type, "int");
}

TEST(ErrorSummary, CarriesWhatAHandlerHasDecided) {
  const ErrorSummary later = summary_of(RetryAfterError(std::chrono::seconds(7), "rate limit"));
  const ErrorSummary never = summary_of(DeadLetterError("the shop has closed"));

  EXPECT_EQ(later.error_class, "retry_after");
  EXPECT_EQ(later.retry_after, std::chrono::seconds(7));
  EXPECT_EQ(later.kind, ErrorKind::transient);
  EXPECT_FALSE(later.is_given_up);
  EXPECT_EQ(never.error_class, "dead_letter");
  EXPECT_TRUE(never.is_given_up);
  EXPECT_EQ(never.kind, ErrorKind::permanent);
  EXPECT_FALSE(summary_of(PermanentError("")).is_given_up);
}

TEST(ErrorSummary, CutsLongTextsBetweenCharacters) {
  const ErrorSummary summary = summary_of(PermanentError(std::string(1'023, 'x') + "\xC3\xA4"));
  EXPECT_EQ(summary.text, std::string(1'023, 'x'));
}

TEST(ErrorSummary, IsUtf8WhateverWasThrown) {
  const ErrorSummary summary = summary_of(std::runtime_error("caf\xE9 \xC3\xA9\xFF"));
  EXPECT_EQ(summary.text, "caf? \xC3\xA9?");
}

TEST(ErrorSummary, SurvivesBeingAskedOutsideACatchBlock) {
  EXPECT_EQ(summarize_current_exception().text, "no exception is being handled");
}

TEST(TruncateUtf8, KeepsWhatFits) {
  EXPECT_EQ(truncate_utf8("boots", 5), "boots");
  EXPECT_EQ(truncate_utf8("boots", 4), "boot");
  EXPECT_EQ(truncate_utf8("boots", 0), "");
}

TEST(TruncateUtf8, NeverSplitsASequence) {
  const std::string_view text = "a\xF0\x9F\x98\x80z";  // a, four bytes, z

  for (const std::size_t limit : {1U, 2U, 3U, 4U}) EXPECT_EQ(truncate_utf8(text, limit), "a");
  EXPECT_EQ(truncate_utf8(text, 5), "a\xF0\x9F\x98\x80");
  EXPECT_EQ(truncate_utf8("\xE2\x82\xAC", 2), "");
}

TEST(TruncateUtf8, CutsAtTheLimitWhereThereIsNoSequenceToKeep) {
  EXPECT_EQ(truncate_utf8("\x80\x80\x80\x80\x80\x80\x80", 5).size(), 5U);
}

}  // namespace
}  // namespace oncemark
