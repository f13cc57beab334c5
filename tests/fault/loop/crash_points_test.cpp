// Kills a whole consumer process (its two relays included) at every fail point it can pass, starts it again, and
// checks from the tables what the promises say.
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include <sys/wait.h>
#include <unistd.h>

#include <gtest/gtest.h>

#include <oncemark/core/faults.hpp>
#include <oncemark/core/id.hpp>
#include <oncemark/dead_letter/replay.hpp>
#include <oncemark/kafka/admin.hpp>
#include <oncemark/outbox/writer.hpp>

#include "support/eventually.hpp"
#include "support/temp_schema.hpp"

namespace oncemark {
namespace {

using namespace std::chrono_literals;
using testing::eventually;
using testing::Stack;
using testing::Tables;
using testing::TempSchema;

/// The loop_worker as a child process; killed at the end of its life if it still runs.
class Worker {
 public:
  Worker(const std::string& schema, const std::string& topic, const std::string& group, const std::string& fault) {
    pid_ = ::fork();
    if (pid_ == 0) {
      if (fault.empty()) {
        ::unsetenv("ONCEMARK_FAULT");
      } else {
        ::setenv("ONCEMARK_FAULT", fault.c_str(), 1);
      }
      ::execl(ONCEMARK_LOOP_WORKER, "loop_worker", schema.c_str(), topic.c_str(), group.c_str(), nullptr);
      ::_exit(127);
    }
  }
  ~Worker() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  /// Whether the process ended by SIGKILL within `limit`.
  [[nodiscard]] bool dies_by_kill(std::chrono::milliseconds limit) {
    int status = 0;
    bool has_ended = false;
    (void)eventually(limit, [&] { return has_ended = ::waitpid(pid_, &status, WNOHANG) == pid_; });
    if (!has_ended) return false;
    pid_ = 0;
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
  }
  /// Asks for a clean stop; the exit code.
  int stop() {
    ::kill(pid_, SIGTERM);
    int status = 0;
    ::waitpid(pid_, &status, 0);
    pid_ = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }

 private:
  pid_t pid_ = 0;
};

class CrashPoints : public ::testing::TestWithParam<std::string> {
 protected:
  static constexpr int kMessages = 60;

  CrashPoints() {
    pool_.acquire()->control(
        "CREATE TABLE effect (id BIGINT AUTO_INCREMENT PRIMARY KEY, message_id VARBINARY(255) NOT NULL, "
        "message_key VARBINARY(64), attempt INT, life INT)");
    kafka::Admin(Stack::brokers()).create({{.name = topic_, .partitions = 2}});
    pool_.transact([&](mysql::Transaction& tx) {
      for (int i = 0; i < kMessages; ++i) {
        const char* kind = i % 10 == 3 ? "flaky" : i % 15 == 7 ? "poison" : i % 15 == 11 ? "unwanted" : "plain";
        const std::string id = std::string(kind) + "-" + std::to_string(i);
        ids_.insert(id);
        if (std::string_view(kind) == "poison") poison_.insert(id);
        if (std::string_view(kind) == "unwanted") unwanted_.insert(id);
        outbox::append(tx, {.topic = topic_, .key = "key-" + std::to_string(i % 7), .payload = "p", .id = id});
      }
    });
  }

  std::int64_t count(const std::string& sql) {
    return pool_.transact([&](mysql::Transaction& tx) { return tx.query_row(sql)->get<std::int64_t>(0); });
  }
  bool is_settled() {
    return count("SELECT COUNT(*) FROM outbox_message WHERE status <> 'sent'") == 0 &&
           count("SELECT COUNT(*) FROM consumed_message WHERE state IN ('done', 'dead', 'discarded')") == kMessages;
  }
  void replay_all() {
    dead_letter::Replay replay(pool_);
    (void)replay.start({.selection = {.consumer = "shipping"}, .operator_name = "test", .reason = "fixed"});
    (void)replay.run({}, [](const dead_letter::ReplayJob&) {});
  }

  const std::string topic_ = "crash." + std::to_string(random_token());
  const std::string group_ = "g." + std::to_string(random_token());
  TempSchema schema_{Tables::ours};
  mysql::Pool pool_{schema_.options()};
  std::set<std::string> ids_;
  std::set<std::string> poison_;
  std::set<std::string> unwanted_;
};

TEST_P(CrashPoints, NeitherLoseNorDoubleAnything) {
  {
    Worker worker(schema_.name(), topic_, group_, GetParam() + ":kill@2");
    ASSERT_TRUE(worker.dies_by_kill(30s)) << "the worker never passed " << GetParam();
  }
  Worker worker(schema_.name(), topic_, group_, "");
  ASSERT_TRUE(eventually(60s, [&] { return is_settled(); }));

  const auto wanted = static_cast<std::int64_t>(ids_.size() - unwanted_.size());
  const auto healthy = wanted - static_cast<std::int64_t>(poison_.size());
  const auto dead = static_cast<std::int64_t>(poison_.size());
  EXPECT_EQ(count("SELECT COUNT(*) FROM effect"), healthy) << "an effect was lost or doubled";
  EXPECT_EQ(count("SELECT COUNT(DISTINCT message_id) FROM effect"), healthy);
  EXPECT_EQ(count("SELECT COUNT(*) FROM dead_letter WHERE state = 'dead'"), dead);
  EXPECT_EQ(count("SELECT COUNT(*) FROM failed_message"), 0);
  const auto discarded = static_cast<std::int64_t>(unwanted_.size());
  EXPECT_EQ(count("SELECT COUNT(*) FROM dead_letter WHERE state = 'discarded'"), discarded);
  EXPECT_EQ(count("SELECT COUNT(*) FROM replay_audit WHERE outcome = 'discarded'"), discarded);

  replay_all();
  ASSERT_TRUE(eventually(30s, [&] { return is_settled() && count("SELECT COUNT(*) FROM effect") == wanted; }));
  EXPECT_EQ(count("SELECT COUNT(DISTINCT message_id) FROM effect"), wanted);
  EXPECT_EQ(count("SELECT COUNT(*) FROM dead_letter WHERE state = 'replayed'"), dead);
  EXPECT_EQ(count("SELECT COUNT(*) FROM failed_message"), 0);
  EXPECT_EQ(worker.stop(), 0);
}

/// The fail points of the programs that the worker is made of.
std::vector<std::string> worker_points() {
  std::vector<std::string> points;
  for (const std::string& name : faults::names()) {
    if (!name.starts_with("replay.")) points.push_back(name);
  }
  return points;
}

INSTANTIATE_TEST_SUITE_P(OfAConsumer, CrashPoints, ::testing::ValuesIn(worker_points()), [](const auto& param) {
  std::string name = param.param;
  for (char& c : name) {
    if (c == '.' || c == '_') c = 'X';
  }
  return name;
});

}  // namespace
}  // namespace oncemark
