#include "outbox/seats.hpp"

#include <string>

#include <gtest/gtest.h>

namespace oncemark::outbox {
namespace {

TEST(Seats, HaveNamesThatFitIntoALock) {
  const Seats seats(std::string(64, 'd'), std::string(100, 'r'));

  for (int seat = 0; seat < Seats::kSeats; ++seat) EXPECT_LE(seats.name(seat).size(), 64u);
  EXPECT_NE(seats.name(0), seats.name(1));
}

TEST(Seats, DifferByDatabaseAndByRelay) {
  const std::string name = Seats("shop", "main").name(0);

  EXPECT_EQ(Seats("shop", "main").name(0), name);
  EXPECT_NE(Seats("shop", "shipping").name(0), name);
  EXPECT_NE(Seats("shop2", "main").name(0), name);
  EXPECT_NE(Seats("sho", "pmain").name(0), name);
}

}  // namespace
}  // namespace oncemark::outbox
