#pragma once

#include <chrono>
#include <thread>
#include <utility>

#include <gtest/gtest.h>

namespace oncemark::testing {

/// Whether `predicate` became true before `limit` had passed; asked every 5 ms, and once more at the end.
///
///   EXPECT_TRUE(eventually(10s, [&] { return relay.pending() == 0; }));
template <typename Predicate>
[[nodiscard]] ::testing::AssertionResult eventually(std::chrono::milliseconds limit, Predicate&& predicate) {
  const auto deadline = std::chrono::steady_clock::now() + limit;
  while (!predicate()) {
    if (std::chrono::steady_clock::now() >= deadline) {
      return ::testing::AssertionFailure() << "did not become true within " << limit.count() << " ms";
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return ::testing::AssertionSuccess();
}

}  // namespace oncemark::testing
