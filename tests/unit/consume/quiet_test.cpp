#include "consume/quiet.hpp"

#include <atomic>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

namespace oncemark::consume {
namespace {

TEST(Quiet, LetsOneBeAloneAmongManyThatNeverPause) {
  Quiet quiet;
  std::atomic<int> inside{0};
  std::atomic<bool> was_disturbed{false};
  std::atomic<bool> is_over{false};
  std::vector<std::jthread> others;
  for (int i = 0; i < 3; ++i) {
    others.emplace_back([&] {
      while (!is_over) {
        const Quiet::Inside company(quiet, Quiet::Company::others);
        ++inside;
        std::this_thread::yield();
        --inside;
      }
    });
  }
  std::vector<std::jthread> loners;
  for (int i = 0; i < 2; ++i) {
    loners.emplace_back([&] {
      for (int n = 0; n < 100; ++n) {
        const Quiet::Inside alone(quiet, Quiet::Company::nobody);
        if (++inside != 1) was_disturbed = true;
        std::this_thread::yield();
        if (inside-- != 1) was_disturbed = true;
      }
    });
  }
  loners.clear();
  is_over = true;
  others.clear();

  EXPECT_FALSE(was_disturbed);
}

}  // namespace
}  // namespace oncemark::consume
