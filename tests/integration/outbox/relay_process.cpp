#include "relay_process.hpp"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <system_error>
#include <thread>

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <gtest/gtest.h>

#include <oncemark/core/id.hpp>
#include <oncemark/outbox/relay.hpp>

namespace oncemark::outbox {
namespace {

using namespace std::chrono_literals;

constexpr const char* kSchema = "ONCEMARK_TEST_SCHEMA";
constexpr const char* kTopic = "ONCEMARK_TEST_TOPIC";

/// Acks what it has appended to the file: one write() a record, so that lines of several processes do not mix.
class FileSink final : public Sink {
 public:
  explicit FileSink(const char* path) : file_(::open(path, O_WRONLY | O_APPEND | O_CLOEXEC)) {}
  ~FileSink() override { ::close(file_); }

  Sent send(const OutgoingRecord& record, std::uint64_t token) override {
    const std::string line = record.key.str() + ' ' + record.payload.str() + '\n';
    if (::write(file_, line.data(), line.size()) != static_cast<ssize_t>(line.size())) std::abort();
    reports_.push_back({token, DeliveryStatus::acked, {}});
    return Sent::accepted;
  }
  std::vector<Delivery> deliveries(std::chrono::milliseconds) override { return std::exchange(reports_, {}); }
  void discard() override { reports_.clear(); }

 private:
  int file_;
  std::vector<Delivery> reports_;
};

// Not a test: what a RelayProcess runs.
TEST(RelayProcessTest, DISABLED_RunsARelayUntilItIsKilled) {
  const char* schema = std::getenv(kSchema);
  const char* topic = std::getenv(kTopic);
  ASSERT_TRUE(schema != nullptr && topic != nullptr);
  mysql::PoolOptions options = testing::Stack::mysql();
  options.schema = schema;
  mysql::Pool pool(options);
  FileSink sink(topic);
  RelayOptions quick;
  quick.poll_interval = 5ms;
  quick.max_poll_interval = 20ms;
  quick.batch = 50;
  Relay relay(pool, sink, quick);
  for (;;) ::pause();
}

}  // namespace

RelayProcess::RelayProcess(const testing::TempSchema& schema, const std::filesystem::path& topic,
                           const std::string& fault) {
  // Before the fork: between fork and exec nothing may allocate.
  std::vector<std::string> variables;
  for (char** variable = ::environ; *variable != nullptr; ++variable) variables.emplace_back(*variable);
  variables.push_back(std::string(kSchema) + "=" + schema.name());
  variables.push_back(std::string(kTopic) + "=" + topic.string());
  variables.push_back("ONCEMARK_FAULT=" + fault);
  std::vector<char*> environment;
  for (std::string& variable : variables) environment.push_back(variable.data());
  environment.push_back(nullptr);
  std::vector<std::string> words{"relay", "--gtest_also_run_disabled_tests",
                                 "--gtest_filter=RelayProcessTest.DISABLED_RunsARelayUntilItIsKilled"};
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);

  pid_ = ::fork();
  if (pid_ < 0) throw std::system_error(errno, std::generic_category(), "fork");
  if (pid_ == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    ::execve("/proc/self/exe", arguments.data(), environment.data());
    ::_exit(127);
  }
}

RelayProcess::~RelayProcess() {
  if (pid_ < 0) return;
  signal(SIGKILL);
  wait();
}

void RelayProcess::signal(int number) { ::kill(pid_, number); }

bool RelayProcess::is_stopped() const {
  siginfo_t info{};
  return ::waitid(P_PID, static_cast<id_t>(pid_), &info, WSTOPPED | WNOHANG | WNOWAIT) == 0 && info.si_pid == pid_;
}

int RelayProcess::wait() {
  int status = 0;
  while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
  }
  pid_ = -1;
  return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

TopicFile::TopicFile()
    : path_(std::filesystem::temp_directory_path() / ("om_topic_" + std::to_string(random_token()))) {
  std::ofstream(path_).flush();
}

TopicFile::~TopicFile() { std::filesystem::remove(path_); }

std::size_t TopicFile::records() const {
  std::ifstream file(path_);
  return static_cast<std::size_t>(
      std::count(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>(), '\n'));
}

std::map<std::string, std::vector<int>> TopicFile::by_key() const {
  std::ifstream file(path_);
  std::map<std::string, std::vector<int>> payloads;
  std::string key;
  int number = 0;
  while (file >> key >> number) payloads[key].push_back(number);
  return payloads;
}

}  // namespace oncemark::outbox
