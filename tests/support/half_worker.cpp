// A producer of transactional messages, or their check-back, as a process of its own, to be killed by tests.
//
// usage: half_worker send SCHEMA SENDER TOPIC FIRST COUNT   sends messages FIRST…, with a row in `sale` for each that
//                                                           commits; every third rolls back; ends when all is sent
//        half_worker check SCHEMA SENDER                    checks until it is killed
// The servers come from the environment that tools/stack exports.
#include <iostream>
#include <string>
#include <thread>

#include <oncemark/core/error.hpp>
#include <oncemark/core/signals.hpp>
#include <oncemark/kafka/admin.hpp>
#include <oncemark/kafka/consumer.hpp>
#include <oncemark/kafka/producer.hpp>
#include <oncemark/transactional/check_back.hpp>
#include <oncemark/transactional/sender.hpp>

#include "support/stack.hpp"

namespace om = oncemark;
using namespace std::chrono_literals;
using om::testing::Stack;

namespace {

int send(om::mysql::Pool& pool, const std::string& name, const std::string& topic, int first, int count) {
  om::kafka::Producer out({.brokers = Stack::brokers(), .linger = 0ms});
  om::transactional::Sender sender(pool, out, {.name = name, .first_check = 300ms});
  std::uint64_t committed = 0;
  for (int i = first; i < first + count; ++i) {
    const std::string id = std::to_string(i);
    try {
      sender.send({.topic = topic, .key = id, .payload = id, .id = id}, [&](om::mysql::Transaction& tx) {
        tx.execute("INSERT INTO sale VALUES (?)", id);
        if (i % 3 == 0) throw om::PermanentError("sold out");
      });
      ++committed;
    } catch (const om::PermanentError&) {
    }
  }
  while (sender.counts().sent < committed) std::this_thread::sleep_for(5ms);
  return 0;
}

int check(om::mysql::Pool& pool, const std::string& name) {
  const om::StopOnSignal signals;
  const std::string topic = om::transactional::half_topic(name);
  om::kafka::Consumer halves(
      {.brokers = Stack::brokers(), .group = topic, .topics = {topic}, .session_timeout = 1'000ms});
  om::kafka::Producer out({.brokers = Stack::brokers(), .linger = 0ms});
  om::transactional::CheckBack checks(pool, halves, out, om::kafka::Admin(Stack::brokers()).config(topic),
                                      {.sender = name, .interval = 300ms, .max_checks = 2});
  checks.run(signals.token());
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string verb = argc > 1 ? argv[1] : "";
  if ((verb != "send" || argc != 7) && (verb != "check" || argc != 4)) {
    std::cerr << "usage: half_worker send SCHEMA SENDER TOPIC FIRST COUNT | check SCHEMA SENDER\n";
    return 2;
  }
  om::mysql::PoolOptions options = Stack::mysql();
  options.schema = argv[2];
  om::mysql::Pool pool(options);
  if (verb == "check") return check(pool, argv[3]);
  return send(pool, argv[3], argv[4], std::stoi(argv[5]), std::stoi(argv[6]));
}
