#include <oncemark/core/faults.hpp>

#include <algorithm>
#include <csignal>
#include <cstdlib>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <oncemark/core/error.hpp>

namespace oncemark::faults {
namespace {

/// Passes the point `times` times; how many of them threw.
int throws_in(int times) {
  int thrown = 0;
  for (int i = 0; i < times; ++i) {
    try {
      ONCEMARK_FAIL_POINT("relay.after_ack");
    } catch (const Error&) {
      ++thrown;
    }
  }
  return thrown;
}

class FaultsTest : public testing::Test {
 protected:
  FaultsTest() { testing::FLAGS_gtest_death_test_style = "threadsafe"; }
  ~FaultsTest() override { disarm(); }
};

using FaultsDeathTest = FaultsTest;

TEST_F(FaultsTest, DoNothingUntilArmed) {
  EXPECT_FALSE(detail::armed());
  EXPECT_EQ(throws_in(3), 0);
}

TEST_F(FaultsTest, StrikeAtTheFirstPassageOnly) {
  arm("relay.after_ack:throw");

  EXPECT_TRUE(detail::armed());
  EXPECT_EQ(throws_in(1), 1);
  EXPECT_EQ(throws_in(5), 0);
}

TEST_F(FaultsTest, StrikeAtThePassageThatWasNamed) {
  arm("relay.after_ack:throw@3");

  EXPECT_EQ(throws_in(2), 0);
  EXPECT_EQ(throws_in(1), 1);
  EXPECT_EQ(throws_in(5), 0);
}

TEST_F(FaultsTest, TakeSeveralEntries) {
  arm("relay.after_mark:throw,relay.after_ack:throw@1,relay.after_ack:throw@2");

  EXPECT_EQ(throws_in(5), 2);
  EXPECT_THROW(ONCEMARK_FAIL_POINT("relay.after_mark"), Error);
}

TEST_F(FaultsTest, ThrowATransientErrorThatNamesThePoint) {
  arm("relay.after_ack:throw");
  try {
    ONCEMARK_FAIL_POINT("relay.after_ack");
    FAIL() << "nothing thrown";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::transient);
    EXPECT_THAT(error.what(), testing::HasSubstr("relay.after_ack"));
  }
}

TEST_F(FaultsTest, DoNothingOnceDisarmed) {
  arm("relay.after_ack:throw");
  disarm();

  EXPECT_FALSE(detail::armed());
  EXPECT_EQ(throws_in(3), 0);
}

TEST_F(FaultsTest, RefuseWhatCannotBeReadAndKeepWhatWasArmed) {
  arm("relay.after_ack:throw");

  for (const char* specification :
       {"", ",", "relay.after_ack", "relay.after_ack:", "relay.after_ack:explode", "nowhere:kill", ":kill",
        "relay.after_ack:kill@", "relay.after_ack:kill@0", "relay.after_ack:kill@-1", "relay.after_ack:kill@2x",
        "relay.after_ack:kill,", "relay.after_ack:kill@99999999999"}) {
    EXPECT_THROW(arm(specification), MisuseError) << specification;
  }
  EXPECT_EQ(throws_in(1), 1);
}

TEST_F(FaultsTest, AreListedInOrderAndOnce) {
  EXPECT_FALSE(names().empty());
  EXPECT_TRUE(std::is_sorted(names().begin(), names().end()));
  EXPECT_EQ(std::adjacent_find(names().begin(), names().end()), names().end());
  for (const std::string& name : names()) EXPECT_NO_THROW(arm(name + ":kill"));
}

TEST_F(FaultsDeathTest, KillTheProcess) {
  const auto pass_twice = [] {
    arm("dedup.after_claim:kill@2");
    ONCEMARK_FAIL_POINT("dedup.after_claim");
    ::write(STDERR_FILENO, "once", 4);
    ONCEMARK_FAIL_POINT("dedup.after_claim");
    ::write(STDERR_FILENO, "twice", 5);
  };
  EXPECT_EXIT(pass_twice(), testing::KilledBySignal(SIGKILL), "once$");
}

TEST_F(FaultsTest, StopTheProcessUntilItIsContinued) {
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    arm("runner.before_offset_commit:stop");
    ONCEMARK_FAIL_POINT("runner.before_offset_commit");
    ::_exit(7);
  }

  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, WUNTRACED), child);
  EXPECT_TRUE(WIFSTOPPED(status));
  ::kill(child, SIGCONT);
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 7);
}

/// Runs this program with ONCEMARK_FAULT set and only the test below it; returns its wait status.
int run_child(const char* specification) {
  const pid_t child = ::fork();
  if (child == 0) {
    ::setenv("ONCEMARK_FAULT", specification, 1);
    ::execl("/proc/self/exe", "unit_core", "--gtest_filter=*PassesOnePointForItsParent", "--gtest_brief=1", nullptr);
    ::_exit(99);
  }
  int status = 0;
  EXPECT_EQ(::waitpid(child, &status, 0), child);
  return status;
}

TEST(FaultsInChild, PassesOnePointForItsParent) { ONCEMARK_FAIL_POINT("router.before_commit"); }

TEST_F(FaultsTest, AreArmedByTheEnvironmentWhenTheProcessStarts) {
  const int armed = run_child("router.before_commit:kill");
  EXPECT_TRUE(WIFSIGNALED(armed) && WTERMSIG(armed) == SIGKILL);

  const int other_point = run_child("router.after_commit:kill");
  EXPECT_TRUE(WIFEXITED(other_point) && WEXITSTATUS(other_point) == 0);

  const int empty = run_child("");
  EXPECT_TRUE(WIFEXITED(empty) && WEXITSTATUS(empty) == 0);
}

TEST_F(FaultsTest, EndTheProcessAtStartWhenTheEnvironmentCannotBeRead) {
  const int status = run_child("router.before_commit:explode");
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

}  // namespace
}  // namespace oncemark::faults
