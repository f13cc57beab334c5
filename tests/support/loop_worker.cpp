// The consumer side of the loop as a process of its own, to be killed, paused and stopped by tests: relay "main", the
// consumer "shipping" with its relay, and a handler whose effect is one row of the table `effect` (no unique key: a
// double would show).
//
// usage: loop_worker SCHEMA TOPIC GROUP [NAME=VALUE]...; the servers come from the environment that tools/stack
// exports. When it ends well it prints what the runner counted.
//
//   instance=ID     static membership; empty: dynamic           session=MS  poll=MS  drain=MS  wait_timeout=S
//   relays=no       consume only                                lock_wait=S workers=N  delay=MS  probe=MS (the first ones)
//   room=DIR        where files let tests and handlers meet
//   order=by_key    retries keep the order of a key            on_dead=continue  lease=MS
//
// Message ids decide what happens:
//   flaky-…    fails on its first delivery of a life
//   poison-…   fails for good in its first life
//   stubborn-… fails on each delivery of its first life
//   unwanted-… fails always, and a rule discards it
//   crash-…    ends the process by SIGSEGV
//   gated-…    leaves the file running.ID in the room, and waits while the file `hold` is there
//   needs-…    throws UnavailableError while the file `down` is in the room; asks-… throws std::runtime_error
//   lock-N-…   updates rows N and 1 - N of the table `account`, in this order
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>

#include <unistd.h>

#include <oncemark/consume/runner.hpp>
#include <oncemark/core/signals.hpp>
#include <oncemark/dead_letter/router.hpp>
#include <oncemark/inbox/dedup.hpp>
#include <oncemark/inbox/redis_hint.hpp>
#include <oncemark/kafka/consumer.hpp>
#include <oncemark/kafka/producer.hpp>
#include <oncemark/outbox/relay.hpp>

namespace om = oncemark;
using namespace std::chrono_literals;

namespace {

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  if (value == nullptr) {
    std::cerr << name << " is not set: run under `tools/stack run --`\n";
    std::exit(2);
  }
  return value;
}

class Arguments {
 public:
  Arguments(int argc, char** argv) {
    for (int i = 4; i < argc; ++i) {
      const std::string argument = argv[i];
      const auto equals = argument.find('=');
      values_[argument.substr(0, equals)] = equals == std::string::npos ? "" : argument.substr(equals + 1);
    }
  }
  [[nodiscard]] std::string text(const std::string& name, const std::string& otherwise) const {
    const auto found = values_.find(name);
    return found == values_.end() ? otherwise : found->second;
  }
  [[nodiscard]] int number(const std::string& name, int otherwise) const {
    return std::stoi(text(name, std::to_string(otherwise)));
  }

 private:
  std::map<std::string, std::string> values_;
};

class Effect {
 public:
  explicit Effect(std::filesystem::path room) : room_(std::move(room)) {}

  void operator()(const om::Message& message, om::mysql::Transaction& tx) const {
    const std::string& id = message.id;
    if (id.starts_with("crash")) (void)std::raise(SIGSEGV);
    if (id.starts_with("needs") && is_there("down")) throw om::UnavailableError("the warehouse is down");
    if (id.starts_with("asks") && is_there("down")) throw std::runtime_error("the warehouse does not answer");
    if (id.starts_with("gated")) {
      std::ofstream(room_ / ("running." + id)) << ::getpid();
      while (is_there("hold")) std::this_thread::sleep_for(5ms);
    }
    if (id.starts_with("lock")) {
      const int first = id[5] - '0';
      for (const int row : {first, 1 - first}) tx.execute("UPDATE account SET n = n + 1 WHERE id = ?", row);
    }
    tx.execute("INSERT INTO effect (message_id, message_key, attempt, life, payload) VALUES (?, ?, ?, ?, ?)", id,
               message.key, message.attempt, message.life, message.payload);
    if (id.starts_with("flaky") && message.attempt == 1) throw std::runtime_error("not yet");
    if (id.starts_with("stubborn") && message.life == 1) throw std::runtime_error("not in this life");
    if (id.starts_with("unwanted")) throw std::domain_error("nobody wants it");
    if (id.starts_with("poison") && message.life == 1) throw om::PermanentError("never in this life");
  }

 private:
  [[nodiscard]] bool is_there(const char* file) const { return std::filesystem::exists(room_ / file); }
  std::filesystem::path room_;
};

/// A relay with a producer of its own.
struct Carrier {
  Carrier(om::mysql::Pool& db, const std::string& brokers, const std::string& name)
      : out({.brokers = brokers}),
        relay(db, out, {.name = name, .batch = 20, .poll_interval = 5ms, .max_poll_interval = 50ms}) {}
  om::kafka::Producer out;
  om::outbox::Relay relay;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4) {
    std::cerr << "usage: loop_worker SCHEMA TOPIC GROUP [NAME=VALUE]...\n";
    return 2;
  }
  const Arguments arguments(argc, argv);
  const std::string brokers = environment("ONCEMARK_KAFKA__BROKERS");
  const auto milliseconds = [&](const char* name, int otherwise) {
    return std::chrono::milliseconds(arguments.number(name, otherwise));
  };
  om::StopOnSignal signals;
  om::mysql::Pool db{{.url = environment("ONCEMARK_MYSQL__URL"),
                      .user = environment("ONCEMARK_MYSQL__USER"),
                      .password_file = environment("ONCEMARK_MYSQL__PASSWORD_FILE"),
                      .schema = argv[1],
                      .wait_timeout = std::chrono::seconds(arguments.number("wait_timeout", 60)),
                      .lock_wait_timeout = std::chrono::seconds(arguments.number("lock_wait", 5))}};
  std::unique_ptr<Carrier> business;
  std::unique_ptr<Carrier> failures_out;
  if (arguments.text("relays", "yes") == "yes") {
    business = std::make_unique<Carrier>(db, brokers, "main");
    failures_out = std::make_unique<Carrier>(db, brokers, "shipping");
  }
  om::kafka::Consumer orders{{.brokers = brokers,
                              .group = argv[3],
                              .topics = {argv[2]},
                              .instance_id = arguments.text("instance", "worker-1"),
                              .session_timeout = milliseconds("session", 1'500),
                              .max_poll_interval = milliseconds("poll", 10'000)}};
  om::inbox::RedisHint hint{db,
                            {.redis = {.url = environment("ONCEMARK_REDIS__URL"),
                                       .user = environment("ONCEMARK_REDIS__USER"),
                                       .password_file = environment("ONCEMARK_REDIS__PASSWORD_FILE")}}};
  om::inbox::Dedup once{db,
                        {.consumer = "shipping",
                         .effects = om::Effects::transaction,
                         .hint = &hint,
                         .hint_use = {.trust = om::inbox::Trust::skip, .ask_above = 0}},
                        Effect(arguments.text("room", "/nonexistent"))};
  const auto delay = milliseconds("delay", 50);
  const bool is_ordered = arguments.text("order", "none") == "by_key";
  const bool stops = arguments.text("on_dead", "stop_key") == "stop_key";
  om::dead_letter::Router failures{
      db,
      {.retries = {.delays = {delay, 2 * delay},
                   .rules = {{.errors = {"std::domain_error"}, .action = om::retry::Action::discard}},
                   .order = is_ordered ? om::retry::Order::by_key : om::retry::Order::none,
                   .on_dead = stops ? om::retry::OnDead::stop_key : om::retry::OnDead::continue_key,
                   .head_lease = milliseconds("lease", 60'000)}}};
  om::consume::Runner runner{
      orders,
      once,
      failures,
      {.workers = static_cast<std::size_t>(arguments.number("workers", 4)),
       .commit_interval = 50ms,
       .drain_timeout = milliseconds("drain", 5'000),
       .breaker = {.first_probe = milliseconds("probe", 1'000), .longest_probe = 10 * milliseconds("probe", 1'000)}}};
  try {
    runner.run(signals.token());
  } catch (const std::exception& error) {
    std::cerr << "loop_worker: " << error.what() << '\n';
    return 1;
  }
  const om::consume::RunnerCounts counts = runner.counts();
  std::cout << "counts: done=" << counts.done << " duplicates=" << counts.duplicates << " retrying=" << counts.retrying
            << " dead=" << counts.dead << " in_place_retries=" << counts.in_place_retries
            << " crash_loops=" << counts.crash_loops << " breaker_opened=" << counts.breaker_opened
            << " probes=" << counts.probes << std::endl;
  return 0;
}
