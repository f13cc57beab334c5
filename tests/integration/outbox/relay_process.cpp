#include "relay_process.hpp"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <fstream>
#include <system_error>

#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <oncemark/core/id.hpp>

namespace oncemark::outbox {
RelayProcess::RelayProcess(const testing::TempSchema& schema, const std::filesystem::path& topic,
                           const std::string& fault, int direct_rows, const std::string& source) {
  // Before the fork: between fork and exec nothing may allocate.
  std::vector<std::string> variables;
  for (char** variable = ::environ; *variable != nullptr; ++variable) variables.emplace_back(*variable);
  variables.push_back("ONCEMARK_FAULT=" + fault);
  std::vector<char*> environment;
  for (std::string& variable : variables) environment.push_back(variable.data());
  environment.push_back(nullptr);
  std::vector<std::string> words{ONCEMARK_RELAY_WORKER, schema.name(), topic.string(),
                                 direct_rows > 0 ? std::to_string(direct_rows) : source};
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);

  pid_ = ::fork();
  if (pid_ < 0) throw std::system_error(errno, std::generic_category(), "fork");
  if (pid_ == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    ::execve(ONCEMARK_RELAY_WORKER, arguments.data(), environment.data());
    ::_exit(127);
  }
}

RelayProcess::~RelayProcess() {
  if (pid_ < 0) return;
  signal(SIGKILL);
  wait();
}

// -1 would be everybody.
void RelayProcess::signal(int number) {
  if (pid_ > 0) ::kill(pid_, number);
}

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
