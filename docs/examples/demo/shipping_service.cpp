// shipping_service.cpp: ships each order once.
//
// The warehouse "north" does not answer before the third call, and an order without an address cannot be shipped at
// all, unless the service is started with --fixed: then it goes to the pick-up point.
#include <oncemark/oncemark.hpp>

#include "../environment.hpp"
#include "arguments.hpp"
#include "counter_file.hpp"
#include "order.hpp"

namespace om = oncemark;
using namespace std::chrono_literals;

namespace {

void ship(const om::Message& message, om::mysql::Transaction& tx, bool is_fixed) {
  demo::Order order = demo::parse_order(message.key, message.payload);
  if (order.warehouse == "north" && message.attempt <= 2) {
    throw std::runtime_error("warehouse north did not answer");
  }
  if (order.address.empty()) {
    if (!is_fixed) throw om::PermanentError(order.id() + " has no address");
    order.address = "pick-up point";
  }
  tx.execute("INSERT INTO shipment (order_id, address) VALUES (?, ?)", order.id(), order.address);
}

}  // namespace

int main(int argc, char** argv) try {
  const demo::Arguments arguments(argc, argv, {"--workers", "--counters"}, {"--fixed"});
  const std::size_t workers = arguments.number("--workers", 8);
  const bool is_fixed = arguments.has("--fixed");

  om::StopOnSignal signals;
  demo::CounterFile counters{arguments.text("--counters")};
  auto database = example::database();
  database.size = workers + 4;
  om::mysql::Pool db{database};
  // Static membership: a restart takes its partitions over at once, without waiting for the session to time out.
  om::kafka::Consumer orders{{.brokers = example::brokers(),
                              .group = "shipping",
                              .topics = {"orders"},
                              .instance_id = "shipping-1",
                              .session_timeout = 3s}};

  om::inbox::Dedup ship_once{
      db,
      {.consumer = "shipping", .effects = om::Effects::transaction},
      [&](const om::Message& message, om::mysql::Transaction& tx) { ship(message, tx, is_fixed); },
      counters};
  om::dead_letter::Router failures{db, {.retries = {.delays = {200ms, 500ms, 1s}}}, counters};
  om::kafka::Producer out{{.brokers = example::brokers()}};
  om::outbox::Relay relay{db, out, {.name = "shipping"}};

  om::consume::Runner runner{orders, ship_once, failures, {.workers = workers}, counters};
  om::log(om::LogLevel::info, "shipping", {{"workers", workers}, {"fixed", is_fixed ? "yes" : "no"}});
  runner.run(signals.token());
} catch (const std::exception& error) {
  om::log(om::LogLevel::error, error.what());
  return 1;
}
