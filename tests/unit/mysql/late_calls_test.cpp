#include <oncemark/mysql/late_calls.hpp>

#include <atomic>
#include <stdexcept>
#include <thread>

#include <gtest/gtest.h>

#include <oncemark/core/error.hpp>
#include <oncemark/testing/recording_session.hpp>

#include "support/eventually.hpp"

namespace oncemark::mysql {
namespace {

using namespace std::chrono_literals;
using testing::eventually;
using testing::RecordingSession;

const LateCallOptions kQuick{.tries = 3, .backoff = {.initial = 1ms, .factor = 1, .cap = 1ms, .jitter = 0}};

TEST(LateCalls, AreMadeAfterTheCommitOnItsThread) {
  RecordingSession session;
  LateCalls calls(kQuick);
  std::thread::id made_on;
  UnitOfWork unit(session);
  calls.after_commit(unit.tx(), "mail", [&] { made_on = std::this_thread::get_id(); });
  EXPECT_EQ(made_on, std::thread::id());

  unit.commit();

  EXPECT_EQ(made_on, std::this_thread::get_id());
}

TEST(LateCalls, AreNotMadeAfterARollback) {
  RecordingSession session;
  LateCalls calls(kQuick);
  bool is_made = false;
  {
    UnitOfWork unit(session);
    calls.after_commit(unit.tx(), "mail", [&] { is_made = true; });
  }

  EXPECT_FALSE(is_made);
  EXPECT_EQ(calls.waiting(), 0u);
}

TEST(LateCalls, AreMadeAgainUntilOneReturns) {
  RecordingSession session;
  LateCalls calls(kQuick);
  std::atomic<int> tries = 0;
  UnitOfWork unit(session);
  calls.after_commit(unit.tx(), "mail", [&] {
    if (++tries < 3) throw std::runtime_error("no server");
  });

  unit.commit();

  EXPECT_TRUE(eventually(5s, [&] { return tries == 3 && calls.waiting() == 0; }));
}

TEST(LateCalls, AreGivenUpAfterTheirLastTry) {
  RecordingSession session;
  std::atomic<int> tries = 0;
  std::atomic<bool> is_other_made = false;
  LateCalls calls(kQuick);
  UnitOfWork unit(session);
  calls.after_commit(unit.tx(), "mail", [&] {
    ++tries;
    throw std::runtime_error("no server");
  });
  calls.after_commit(unit.tx(), "other", [&] { is_other_made = true; });

  unit.commit();

  EXPECT_TRUE(is_other_made);
  EXPECT_TRUE(eventually(5s, [&] { return tries == 3 && calls.waiting() == 0; }));
}

TEST(LateCalls, DoNotOutliveTheirOwner) {
  RecordingSession session;
  int tries = 0;
  {
    LateCalls calls({.backoff = {.initial = 1h, .factor = 1, .cap = 1h, .jitter = 0}});
    UnitOfWork unit(session);
    calls.after_commit(unit.tx(), "mail", [&] {
      ++tries;
      throw std::runtime_error("no server");
    });
    unit.commit();
    EXPECT_EQ(calls.waiting(), 1u);
  }

  EXPECT_EQ(tries, 1);
}

TEST(LateCalls, RefuseOptionsThatMakeNoSense) {
  EXPECT_THROW(LateCalls({.tries = 0}), MisuseError);
  EXPECT_THROW(LateCalls({.max_waiting = 0}), MisuseError);
}

}  // namespace
}  // namespace oncemark::mysql
