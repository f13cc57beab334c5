// The consumer side of the loop as a process of its own, to be killed by tests: relay "main", the consumer "shipping"
// with its relay, and a handler whose effect is one row of the table `effect` (no unique key: a double would show).
//
// usage: loop_worker SCHEMA TOPIC GROUP; the servers come from the environment that tools/stack exports.
// Message ids decide what happens: flaky-… fails on its first delivery of a life, poison-… always in its first life,
// unwanted-… always, and a rule discards it.
#include <cstdlib>
#include <iostream>
#include <stdexcept>
#include <string>

#include <oncemark/consume/runner.hpp>
#include <oncemark/core/signals.hpp>
#include <oncemark/dead_letter/router.hpp>
#include <oncemark/inbox/dedup.hpp>
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

void apply(const om::Message& message, om::mysql::Transaction& tx) {
  tx.execute("INSERT INTO effect (message_id, message_key, attempt, life) VALUES (?, ?, ?, ?)", message.id, message.key,
             message.attempt, message.life);
  if (message.id.starts_with("flaky") && message.attempt == 1) throw std::runtime_error("not yet");
  if (message.id.starts_with("unwanted")) throw std::domain_error("nobody wants it");
  if (message.id.starts_with("poison") && message.life == 1) throw om::PermanentError("never in this life");
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) {
    std::cerr << "usage: loop_worker SCHEMA TOPIC GROUP\n";
    return 2;
  }
  const std::string brokers = environment("ONCEMARK_KAFKA__BROKERS");
  om::StopOnSignal signals;
  om::mysql::Pool db{{.url = environment("ONCEMARK_MYSQL__URL"),
                      .user = environment("ONCEMARK_MYSQL__USER"),
                      .password_file = environment("ONCEMARK_MYSQL__PASSWORD_FILE"),
                      .schema = argv[1]}};
  om::kafka::Producer business_out{{.brokers = brokers}};
  om::outbox::Relay business{db, business_out, {.batch = 20, .poll_interval = 5ms, .max_poll_interval = 50ms}};
  om::kafka::Consumer orders{{.brokers = brokers,
                              .group = argv[3],
                              .topics = {argv[2]},
                              .instance_id = "worker-1",
                              .session_timeout = 1'500ms,
                              .max_poll_interval = 10'000ms}};
  om::inbox::Dedup once{db, {.consumer = "shipping", .effects = om::Effects::transaction}, apply};
  om::dead_letter::Router failures{
      db,
      {.retries = {.delays = {50ms, 100ms},
                   .rules = {{.errors = {"std::domain_error"}, .action = om::retry::Action::discard}}}}};
  om::kafka::Producer failure_out{{.brokers = brokers}};
  om::outbox::Relay failure_relay{
      db, failure_out, {.name = "shipping", .batch = 20, .poll_interval = 5ms, .max_poll_interval = 50ms}};
  om::consume::Runner runner{orders, once, failures, {.workers = 4, .commit_interval = 50ms}};
  try {
    runner.run(signals.token());
  } catch (const std::exception& error) {
    std::cerr << "loop_worker: " << error.what() << '\n';
    return 1;
  }
  return 0;
}
