#include <oncemark/observe/log.hpp>

#include <sstream>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include "observe/log_line.hpp"

namespace oncemark {
namespace {

using testing::ElementsAre;

/// Keeps what it is given as lines.
class KeptLines final : public LogSink {
 public:
  void write(LogLevel level, std::string_view text, const std::vector<LogField>& fields) noexcept override {
    lines.push_back(format_log_line(level, text, fields));
  }
  std::vector<std::string> lines;
};

class LogTest : public testing::Test {
 protected:
  LogTest() { set_log_sink(kept_); }
  ~LogTest() override {
    set_log_sink(nullptr);
    set_log_level(LogLevel::info);
  }
  std::shared_ptr<KeptLines> kept_ = std::make_shared<KeptLines>();
};

std::string on_standard_error(auto work) {
  testing::internal::CaptureStderr();
  work();
  return testing::internal::GetCapturedStderr();
}

TEST_F(LogTest, GoesToTheSinkThatWasSet) {
  log(LogLevel::warn, "lane stopped", {{"topic", "orders"}, {"lane", 3}, {"why", std::string("no room")}});
  EXPECT_THAT(kept_->lines, ElementsAre("warn lane stopped topic=orders lane=3 why=\"no room\""));
}

TEST_F(LogTest, LeavesOutWhatLiesBelowItsLevel) {
  log(LogLevel::debug, "a");
  log(LogLevel::info, "b");
  set_log_level(LogLevel::error);
  log(LogLevel::warn, "c");
  log(LogLevel::error, "d");
  set_log_level(LogLevel::debug);
  log(LogLevel::debug, "e");

  EXPECT_THAT(kept_->lines, ElementsAre("info b", "error d", "debug e"));
}

TEST_F(LogTest, WritesToStandardErrorWhenNoSinkIsSet) {
  set_log_sink(nullptr);
  const std::string line = on_standard_error([] { log(LogLevel::warn, "100 {} %n done", {{"topic", "orders"}}); });

  EXPECT_THAT(line, testing::MatchesRegex("[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}[.][0-9]{3}Z "
                                          "warn 100 [{][}] %n done topic=orders\n"));
  EXPECT_THAT(kept_->lines, testing::IsEmpty());
}

TEST_F(LogTest, KeepsLinesOfSeveralThreadsWhole) {
  set_log_sink(nullptr);
  const std::string text = on_standard_error([] {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 4; ++i) {
      threads.emplace_back([] {
        for (int n = 0; n < 50; ++n) log(LogLevel::info, "some words", {{"n", 7}});
      });
    }
  });

  std::istringstream lines(text);
  int count = 0;
  for (std::string line; std::getline(lines, line); ++count) {
    EXPECT_THAT(line, testing::MatchesRegex("[^ ]{24} info some words n=7"));
  }
  EXPECT_EQ(count, 200);
}

/// What a process of this program prints on standard error when started with ONCEMARK_LOG set.
std::string child_output(const char* level) {
  return on_standard_error([&] {
    const pid_t child = ::fork();
    if (child == 0) {
      ::setenv("ONCEMARK_LOG", level, 1);
      ::execl("/proc/self/exe", "unit_observe", "--gtest_filter=*LogsOnceAtEachLevel", "--gtest_brief=1", nullptr);
      ::_exit(99);
    }
    int status = 0;
    EXPECT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  });
}

TEST(LogInChild, LogsOnceAtEachLevel) {
  for (const LogLevel level : {LogLevel::debug, LogLevel::info, LogLevel::warn, LogLevel::error}) {
    log(level, "said");
  }
}

TEST_F(LogTest, TakesItsLevelFromTheEnvironment) {
  using testing::AllOf;
  using testing::HasSubstr;
  using testing::Not;
  EXPECT_THAT(child_output("debug"), HasSubstr("Z debug said\n"));
  EXPECT_THAT(child_output("warn"), AllOf(HasSubstr("Z warn said\n"), Not(HasSubstr("info said"))));
  EXPECT_THAT(child_output(""), AllOf(HasSubstr("Z info said\n"), Not(HasSubstr("debug said"))));
  EXPECT_THAT(child_output("loud\n"),
              AllOf(HasSubstr("logging at info value=\"loud\\x0a\"\n"), HasSubstr("Z info said\n")));
}

TEST(LogLine, QuotesOnlyTheValuesThatNeedIt) {
  const std::string line = format_log_line(LogLevel::info, "x",
                                           {{"a", "plain/3@991"},
                                            {"b", "two words"},
                                            {"c", ""},
                                            {"d", "k=v"},
                                            {"e", "say \"hi\""},
                                            {"f", "C:\\x"},
                                            {"g", "\xC3\xA4"}});
  EXPECT_EQ(line,
            "info x a=plain/3@991 b=\"two words\" c=\"\" d=\"k=v\" e=\"say \\\"hi\\\"\" "
            "f=\"C:\\\\x\" g=\xC3\xA4");
}

TEST(LogLine, CannotBeForgedByTextOrFields) {
  const std::string line =
      format_log_line(LogLevel::info, "key\nerror forged", {{"a\nb", "x\r\nerror forged"}, {"c", "\xFF"}});
  EXPECT_EQ(line, "info key\\x0aerror forged a\\x0ab=\"x\\x0d\\x0aerror forged\" c=\"\\xff\"");
}

TEST(LogLine, PrintsNumbersOfEveryKind) {
  EXPECT_EQ(format_log_line(LogLevel::debug, "n", {{"i", -1}, {"u", std::uint64_t{1} << 63}, {"b", true}}),
            "debug n i=-1 u=9223372036854775808 b=1");
}

TEST(Printable, LeavesTextAsItIs) {
  EXPECT_EQ(printable("boots \xC3\xA4 \xF0\x9F\x98\x80 \\ \""), "boots \xC3\xA4 \xF0\x9F\x98\x80 \\ \"");
}

TEST(Printable, EscapesControlCharacters) {
  EXPECT_EQ(printable(std::string_view("\0\t\n\r\x1B[2J\x7F", 9)), "\\x00\\x09\\x0a\\x0d\\x1b[2J\\x7f");
  EXPECT_EQ(printable("\xC2\x85|\xC2\x9B|\xC2\xA0"), "\\xc2\\x85|\\xc2\\x9b|\xC2\xA0");
  EXPECT_EQ(printable("\xE2\x80\xA8|\xE2\x80\xA9"), "\\xe2\\x80\\xa8|\\xe2\\x80\\xa9");
}

TEST(Printable, EscapesWhatIsNoUtf8) {
  EXPECT_EQ(printable("a\xFFz\xC3"), "a\\xffz\\xc3");
  EXPECT_EQ(printable("\xED\xA0\x80"), "\\xed\\xa0\\x80");
}

TEST(Printable, NeverExceedsItsLimitAndNeverSplitsACharacter) {
  EXPECT_EQ(printable("boots", 4), "boot");
  EXPECT_EQ(printable("ab\n", 5), "ab");
  EXPECT_EQ(printable("ab\n", 6), "ab\\x0a");
  EXPECT_EQ(printable("a\xC3\xA4", 2), "a");
  EXPECT_EQ(printable(std::string(1'000, 'x')).size(), 256U);
}

}  // namespace
}  // namespace oncemark
