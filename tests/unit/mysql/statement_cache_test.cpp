#include "mysql/statement_cache.hpp"

#include <cstdint>

#include <gtest/gtest.h>

namespace oncemark::mysql {
namespace {

using Cache = StatementCache<std::string>;

// Finds or makes, as a connection does.
std::string* use(Cache& cache, std::string_view sql, const std::vector<Param>& params) {
  if (std::string* known = cache.find(sql, params)) return known;
  return cache.put(sql, params, std::make_unique<std::string>(sql));
}

TEST(StatementCache, GivesTheSameStatementForTheSameText) {
  Cache cache(2);
  std::string* const first = use(cache, "a", {1});

  EXPECT_EQ(use(cache, "a", {2}), first);
  EXPECT_NE(use(cache, "b", {1}), first);
}

TEST(StatementCache, NeverGivesAParameterTwoSignednesses) {
  Cache cache(4);
  std::string* const with_unsigned = use(cache, "a", {1u});
  std::string* const with_signed = use(cache, "a", {-5});

  EXPECT_NE(with_signed, with_unsigned);
  EXPECT_EQ(use(cache, "a", {2u}), with_unsigned);
  EXPECT_EQ(use(cache, "a", {7}), with_signed);
}

TEST(StatementCache, LetsNullAndBytesGoWithEitherSignedness) {
  Cache cache(4);
  std::string* const statement = use(cache, "a", {nullptr, "x"});

  EXPECT_EQ(use(cache, "a", {1u, nullptr}), statement);
  EXPECT_EQ(use(cache, "a", {nullptr, -1}), statement);
  EXPECT_NE(use(cache, "a", {-1, -1}), statement);
  EXPECT_EQ(cache.size(), 2u);
}

TEST(StatementCache, DropsTheOneThatWasUsedLongestAgo) {
  Cache cache(2);
  use(cache, "a", {});
  use(cache, "b", {});
  use(cache, "a", {});
  use(cache, "c", {});

  EXPECT_EQ(cache.size(), 2u);
  EXPECT_NE(cache.find("a", {}), nullptr);
  EXPECT_EQ(cache.find("b", {}), nullptr);
}

TEST(StatementCache, ForgetsAnErasedStatement) {
  Cache cache(2);
  std::string* const statement = use(cache, "a", {1u});
  use(cache, "a", {1});
  cache.erase(statement);

  EXPECT_EQ(cache.size(), 1u);
  EXPECT_EQ(cache.find("a", std::vector<Param>{1u}), nullptr);
  EXPECT_NE(cache.find("a", std::vector<Param>{1}), nullptr);
}

}  // namespace
}  // namespace oncemark::mysql
