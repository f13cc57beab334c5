#include <oncemark/core/bytes.hpp>

#include <gtest/gtest.h>

namespace oncemark {
namespace {

TEST(Bytes, TellsNullFromEmpty) {
  const Bytes null;
  const Bytes empty = "";

  EXPECT_TRUE(null.is_null());
  EXPECT_FALSE(empty.is_null());
  EXPECT_TRUE(null.empty());
  EXPECT_TRUE(empty.empty());
  EXPECT_NE(null, empty);
  EXPECT_LT(null, empty);
}

TEST(Bytes, IsNullFromNullptrAndFromNothing) {
  EXPECT_TRUE(Bytes(nullptr).is_null());
  EXPECT_TRUE(Bytes(std::nullopt).is_null());
  EXPECT_EQ(Bytes(nullptr).data(), nullptr);
  EXPECT_EQ(Bytes(nullptr).view(), "");
  EXPECT_EQ(Bytes(nullptr).str(), "");
}

TEST(Bytes, KeepsZerosAndComparesBytewise) {
  const Bytes with_zero = std::string("a\0b", 3);

  EXPECT_EQ(with_zero.size(), 3U);
  EXPECT_EQ(with_zero.view(), std::string_view("a\0b", 3));
  EXPECT_NE(with_zero, Bytes("a"));
  EXPECT_NE(Bytes("A-1"), Bytes("a-1"));
  EXPECT_NE(Bytes("a-1"), Bytes("a-1 "));
}

}  // namespace
}  // namespace oncemark
