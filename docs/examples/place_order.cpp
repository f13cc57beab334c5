// place_order.cpp: places one order; its event leaves through the outbox.
#include <iostream>
#include <string>

#include <oncemark/oncemark.hpp>

#include "environment.hpp"

namespace om = oncemark;
using namespace std::chrono_literals;

namespace {

struct Order {
  std::string id;
  std::string body;
};

// [producer]
// Saves the order and its event together: both exist after the commit, or neither does.
void place_order(om::mysql::Pool& db, om::outbox::Relay& relay, const Order& order) {
  db.transact([&](om::mysql::Transaction& tx) {
    tx.execute("INSERT INTO orders (order_id, body) VALUES (?, ?)", order.id, order.body);
    om::outbox::append(tx, {.topic = "orders", .key = order.id, .payload = order.body});
    tx.after_commit([&relay] { relay.nudge(); });  // a hint: the relay polls anyway
  });
}
// [producer]

}  // namespace

int main(int argc, char** argv) try {
  if (argc != 3) throw om::MisuseError("usage: place_order ORDER_ID BODY");

  om::StopOnSignal signals;
  om::mysql::Pool db{example::database()};
  om::kafka::Producer out{{.brokers = example::brokers()}};
  om::outbox::Relay relay{db, out};  // could as well be another process: outbox-relay

  place_order(db, relay, {.id = argv[1], .body = argv[2]});
  std::cout << "placed " << argv[1] << '\n';

  // Only to show that it went out. Whatever is unsent when a process ends is sent by the next relay.
  while (relay.counts().sent == 0 && om::wait_for(signals.token(), 10ms)) {
  }
  return relay.counts().sent > 0 ? 0 : 1;
} catch (const std::exception& error) {
  om::log(om::LogLevel::error, error.what());
  return 1;
}
