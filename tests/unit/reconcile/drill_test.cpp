#include "reconcile/drill.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace oncemark::reconcile {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

SideRow row(const std::string& key, std::optional<std::uint64_t> hash = 1, const std::string& id = "") {
  return {.business_key = key, .message_id = id.empty() ? key : id, .payload_hash = hash};
}

std::vector<std::string> ids(const std::vector<const SideRow*>& rows) {
  std::vector<std::string> all;
  for (const SideRow* one : rows) all.push_back(one->message_id);
  return all;
}

TEST(Differences, AreNoneBetweenEqualSides) {
  const std::vector<SideRow> rows{row("a"), row("b")};
  const Differences found = differences(rows, rows, Contents::compared);
  EXPECT_THAT(found.missing, IsEmpty());
  EXPECT_THAT(found.unexpected, IsEmpty());
  EXPECT_THAT(found.conflicts, IsEmpty());
}

TEST(Differences, NameWhatOneSideLacksAtBothEndsAndInTheMiddle) {
  const std::vector<SideRow> sent{row("a"), row("c"), row("e"), row("g")};
  const std::vector<SideRow> done{row("b"), row("c"), row("d"), row("h"), row("i")};
  const Differences found = differences(sent, done, Contents::compared);
  EXPECT_THAT(ids(found.missing), ElementsAre("a", "e", "g"));
  EXPECT_THAT(ids(found.unexpected), ElementsAre("b", "d", "h", "i"));
}

TEST(Differences, CountAKeyThatWasSentSeveralTimesOnce) {
  const std::vector<SideRow> sent{row("a", 1, "m-1"), row("a", 1, "m-2"), row("b", 1, "m-3"), row("b", 1, "m-4")};
  const Differences found = differences(sent, std::vector<SideRow>{row("b", 1, "m-3")}, Contents::compared);
  EXPECT_THAT(ids(found.missing), ElementsAre("m-1"));
  EXPECT_THAT(found.conflicts, IsEmpty());
}

TEST(Differences, CallOtherContentsOfOneKeyAConflict) {
  const std::vector<SideRow> sent{row("a", 1, "m-1"), row("a", 2, "m-2")};
  const std::vector<SideRow> settled{row("a", 1, "m-1")};
  EXPECT_THAT(ids(differences(sent, settled, Contents::compared).conflicts), ElementsAre("m-2"));
  EXPECT_THAT(differences(sent, settled, Contents::ignored).conflicts, IsEmpty());
}

TEST(Differences, SeeNoConflictWhereAHashIsNotKnown) {
  EXPECT_THAT(
      differences(std::vector<SideRow>{row("a", std::nullopt)}, std::vector<SideRow>{row("a", 2)}, Contents::compared)
          .conflicts,
      IsEmpty());
}

}  // namespace
}  // namespace oncemark::reconcile
