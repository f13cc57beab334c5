// No room left on the disk of the database and of the broker, while whole consumer processes work. Only where that disk is
// small: tests/fault/full_disk sees to it (tools/test -L soak -R full_disk).
#include <fstream>

#include "fault/loop/loop_fixture.hpp"

namespace oncemark {
namespace {

constexpr std::uintmax_t kSmall = std::uintmax_t{2} << 30;
constexpr int kMessages = 600;

class FullDisk : public LoopTest {
 protected:
  static int stack(const std::string& command) {
    return std::system((std::string(ONCEMARK_STACK) + " " + command + " >/dev/null 2>&1").c_str());
  }
  /// Takes all the room that there is.
  void fill() const {
    std::ofstream file(ballast_, std::ios::binary | std::ios::app);
    for (std::size_t piece = std::size_t{8} << 20; piece > 0; piece /= 8) {
      const std::string zeros(piece, '\0');
      while (file.write(zeros.data(), static_cast<std::streamsize>(piece)).flush()) {
      }
      file.clear();
    }
  }
  [[nodiscard]] static bool says(const std::string& log, const std::string& what) {
    std::ostringstream text;
    text << std::ifstream(Stack::directory() / log).rdbuf();
    return text.str().find(what) != std::string::npos;
  }

  const std::filesystem::path ballast_ = Stack::directory() / "ballast";
};

TEST_F(FullDisk, OfTheServersLosesNothingAndDoublesNothing) {
  if (std::filesystem::space(Stack::directory()).capacity > kSmall) GTEST_SKIP() << "the disk of the servers is large";
  room_.put("hold");
  std::vector<std::pair<std::string, std::string>> messages;
  for (int i = 0; i < kMessages; ++i) {
    messages.emplace_back((i % 10 == 0 ? "flaky-" : "gated-") + std::to_string(i), "key-" + std::to_string(i % 50));
  }
  send(messages, std::string(20'000, 'p'));
  auto worker = start("worker");
  ASSERT_TRUE(eventually(30s, [&] { return room_.is_any_running(); }));

  fill();
  room_.take("hold");
  // What a server says when it has no room: MariaDB waits for some or refuses the statement, Kafka ends.
  EXPECT_TRUE(eventually(60s, [&] {
    fill();  // what was deleted meanwhile
    return says("mysql.log", "rrcode: 28") || says("mysql.log", "is full") || says("kafka.log", "No space left") ||
           worker->log().find("mysql.1114") != std::string::npos ||
           worker->log().find("mysql.1026") != std::string::npos;
  }));
  std::filesystem::remove(ballast_);
  for (const char* server :
       {"mysql", "kafka"}) {  // as they would be restarted by hand: a broker whose disk was full has ended
    EXPECT_EQ(stack(std::string("restart ") + server), 0) << server;
  }

  ASSERT_TRUE(eventually(120s,
                         [&] {
                           if (worker->has_ended()) worker = start("restarted");  // by its supervisor
                           return effects() == kMessages && count("SELECT COUNT(*) FROM failed_message") == 0;
                         }))
      << effects() << " effects";
  EXPECT_EQ(worker->stop(), 0);
  expect_each_effect_once(kMessages);
  EXPECT_EQ(count("SELECT COUNT(*) FROM dead_letter"), 0);
}

}  // namespace
}  // namespace oncemark
