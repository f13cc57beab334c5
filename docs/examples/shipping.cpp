// [consumer]
// shipping.cpp: ships each order once, tries again later, dead-letters what can never succeed.
#include <oncemark/oncemark.hpp>

#include "environment.hpp"  // brokers() and database(): addresses, from the environment

namespace om = oncemark;
using namespace std::chrono_literals;

// The effect: in the same transaction as the mark that says "done".
void ship(const om::Message& order, om::mysql::Transaction& tx) {
  if (order.payload.empty()) throw om::PermanentError("the order has no body");
  tx.execute("INSERT INTO shipment (order_id, body) VALUES (?, ?)", order.key, order.payload);
}

int main() try {
  om::StopOnSignal signals;  // SIGINT and SIGTERM ask for a clean stop
  om::mysql::Pool db{example::database()};
  om::kafka::Consumer orders{{.brokers = example::brokers(), .group = "shipping", .topics = {"orders"}}};

  om::inbox::Dedup ship_once{db, {.consumer = "shipping", .effects = om::Effects::transaction}, ship};
  om::dead_letter::Router failures{db, {.retries = {.delays = {5s, 60s, 900s}}}};
  om::kafka::Producer out{{.brokers = example::brokers()}};
  om::outbox::Relay relay{db, out, {.name = "shipping"}};  // carries retries and letters

  om::consume::Runner runner{orders, ship_once, failures, {.workers = 4}};
  runner.run(signals.token());  // returns once work in flight is finished and committed
} catch (const std::exception& error) {
  om::log(om::LogLevel::error, error.what());
  return 1;
}
// [consumer]
