#include "outbox/flight.hpp"

#include <gtest/gtest.h>

namespace oncemark::outbox {
namespace {

Flight flight_of(std::initializer_list<std::uint64_t> ids) {
  Flight flight;
  for (const std::uint64_t id : ids) flight.add({.id = id, .key = {}, .answer = Answer::none, .error = {}});
  return flight;
}

TEST(Flight, KnowsWhatIsStillOpen) {
  Flight flight = flight_of({1, 2, 3});

  EXPECT_TRUE(flight.apply({2, DeliveryStatus::acked, ""}));
  EXPECT_FALSE(flight.apply({3, DeliveryStatus::refused, "too large"}));

  EXPECT_EQ(flight.open(), 1u);
  EXPECT_EQ(flight.rows()[1]->answer, Answer::acked);
  EXPECT_EQ(flight.rows()[2]->error, "too large");
}

TEST(Flight, TakesOneReportForARow) {
  Flight flight = flight_of({1, 2});
  EXPECT_TRUE(flight.apply({1, DeliveryStatus::acked, ""}));

  EXPECT_FALSE(flight.apply({1, DeliveryStatus::acked, ""}));
  EXPECT_FALSE(flight.apply({1, DeliveryStatus::failed, ""}));
  EXPECT_FALSE(flight.apply({7, DeliveryStatus::acked, ""}));

  EXPECT_EQ(flight.open(), 1u);
  EXPECT_EQ(flight.rows()[0]->answer, Answer::acked);
}

TEST(Flight, BlamesNobodyForAReportThatNeverCame) {
  Flight flight = flight_of({1, 2});
  (void)flight.apply({1, DeliveryStatus::acked, ""});

  flight.give_up("no report");

  EXPECT_EQ(flight.open(), 0u);
  EXPECT_EQ(flight.rows()[0]->answer, Answer::acked);
  EXPECT_EQ(flight.rows()[1]->answer, Answer::failed);
  EXPECT_EQ(flight.rows()[1]->error, "no report");
}

TEST(Flight, CountsARowThatGoesAloneOnlyWhenItIsHandedOver) {
  Flight flight;
  flight.add({.id = 5, .key = {}, .answer = Answer::refused, .error = {}});
  EXPECT_EQ(flight.open(), 0u);

  flight.reopen(*flight.rows().front());

  EXPECT_EQ(flight.open(), 1u);
  EXPECT_TRUE(flight.apply({5, DeliveryStatus::acked, ""}));
}

TEST(Flight, IsInTheOrderOfIdsHoweverItWasFilled) {
  Flight flight = flight_of({7, 3, 5});

  ASSERT_EQ(flight.rows().size(), 3u);
  EXPECT_EQ(flight.rows()[0]->id, 3u);
  EXPECT_EQ(flight.rows()[2]->id, 7u);
}

TEST(Flight, ForgetsRowsThatAreWrittenDown) {
  Flight flight = flight_of({1, 2});
  (void)flight.apply({1, DeliveryStatus::acked, ""});

  flight.remove({1});

  EXPECT_FALSE(flight.contains(1));
  EXPECT_TRUE(flight.contains(2));
  EXPECT_FALSE(flight.apply({1, DeliveryStatus::acked, ""}));
}

TEST(Flight, IsSoundUntilARowIsRefusedOrFails) {
  Flight flight = flight_of({1, 2});
  (void)flight.apply({1, DeliveryStatus::acked, ""});
  EXPECT_TRUE(flight.is_sound());

  (void)flight.apply({2, DeliveryStatus::refused, "too large"});

  EXPECT_FALSE(flight.is_sound());
  flight.clear();
  EXPECT_TRUE(flight.is_sound());
}

}  // namespace
}  // namespace oncemark::outbox
