#include "core/utf8.hpp"

#include <gtest/gtest.h>

namespace oncemark::utf8 {
namespace {

TEST(Utf8, AcceptsSequencesOfEveryLengthUpToTheirLimits) {
  for (const std::string_view text : {"a", "\x7F", "\xC2\x80", "\xDF\xBF", "\xE0\xA0\x80", "\xED\x9F\xBF",
                                      "\xEE\x80\x80", "\xEF\xBF\xBF", "\xF0\x90\x80\x80", "\xF4\x8F\xBF\xBF"}) {
    EXPECT_EQ(sequence_length(text), text.size());
    EXPECT_TRUE(is_valid(text));
  }
  EXPECT_EQ(sequence_length(std::string_view("\0", 1)), 1U);
}

TEST(Utf8, RefusesOverlongForms) {
  for (const std::string_view text : {"\xC0\x80", "\xC1\xBF", "\xE0\x9F\xBF", "\xF0\x8F\xBF\xBF"}) {
    EXPECT_FALSE(is_valid(text));
  }
}

TEST(Utf8, RefusesSurrogatesAndWhatLiesAboveUnicode) {
  for (const std::string_view text : {"\xED\xA0\x80", "\xED\xBF\xBF", "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\xFF"}) {
    EXPECT_FALSE(is_valid(text));
  }
}

TEST(Utf8, RefusesStrayAndMissingContinuations) {
  for (const std::string_view text :
       {"\x80", "\xC3", "\xC3(", "\xE2\x82", "\xE2(\xA1", "\xE2\x82(", "\xF0\x9F\x98", "ok\xC3"}) {
    EXPECT_FALSE(is_valid(text));
  }
}

TEST(Utf8, QuotesForeignTextAsShortPrintableAscii) {
  EXPECT_EQ(in_quotes("12a"), "'12a'");
  EXPECT_EQ(in_quotes("a\nb\xFF"), "'a?b?'");
  EXPECT_EQ(in_quotes(std::string(41, 'x')), "'" + std::string(40, 'x') + "'...");
}

}  // namespace
}  // namespace oncemark::utf8
