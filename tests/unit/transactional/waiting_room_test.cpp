#include "transactional/waiting_room.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace oncemark::transactional {
namespace {

using namespace std::chrono_literals;

Time at(int second) { return Time(std::chrono::seconds(1'764'000'000 + second)); }

Guest guest(std::int64_t offset, int due, std::int32_t partition = 0) {
  Guest made{.read_at = {"half.shop", partition, offset}, .bytes = 100};
  made.half.message.id = std::to_string(offset);
  made.half.due = at(due);
  return made;
}

TEST(WaitingRoom, GivesWhatIsDueAndTheEarliestFirst) {
  WaitingRoom room;
  room.add(guest(0, 30));
  room.add(guest(1, 6));
  room.add(guest(2, 5));

  EXPECT_TRUE(room.take_due(at(4), 10).empty());
  const std::vector<Guest> due = room.take_due(at(6), 10);

  ASSERT_EQ(due.size(), 2u);
  EXPECT_EQ(due[0].read_at.offset, 2);
  EXPECT_EQ(due[1].read_at.offset, 1);
  EXPECT_EQ(room.next_due(), at(30));
  EXPECT_EQ(room.bytes(), 100u);
}

TEST(WaitingRoom, HoldsThePositionAtTheFirstThatIsNotSettled) {
  WaitingRoom room;
  for (int offset = 0; offset < 3; ++offset) room.add(guest(offset, 1));
  std::vector<Guest> due = room.take_due(at(1), 10);

  room.finish(due[1]);
  EXPECT_EQ(room.take_committable(), (std::vector<Position>{{"half.shop", 0, 0}}));
  room.put_back(std::move(due[0]), at(2));
  room.finish(due[2]);
  EXPECT_TRUE(room.take_committable().empty());

  due = room.take_due(at(2), 10);
  room.finish(due.at(0));
  EXPECT_EQ(room.take_committable(), (std::vector<Position>{{"half.shop", 0, 3}}));
}

TEST(WaitingRoom, ForgetsAPartitionThatIsTakenAway) {
  WaitingRoom room;
  room.add(guest(0, 1, 0));
  room.add(guest(0, 1, 1));
  std::vector<Guest> due = room.take_due(at(1), 10);
  ASSERT_EQ(due.size(), 2u);

  room.drop({"half.shop", 0});
  for (Guest& one : due) room.put_back(std::move(one), at(2));

  EXPECT_EQ(room.size(), 1u);
  room.add(guest(0, 1, 0));  // read again, under a new assignment
  EXPECT_EQ(room.size(), 2u);
}

TEST(WaitingRoom, TakesARecordOnceHoweverOftenItIsRead) {
  WaitingRoom room;
  room.add(guest(5, 1));
  room.add(guest(5, 1));

  EXPECT_EQ(room.size(), 1u);
}

}  // namespace
}  // namespace oncemark::transactional
