// transactional.cpp: places one order; its event travels as a transactional message, with its check-back beside it.
#include <iostream>
#include <string>
#include <thread>

#include <oncemark/oncemark.hpp>

#include "environment.hpp"

namespace om = oncemark;
using namespace std::chrono_literals;

namespace {

// [send]
// Half message, transaction, message: the event is sent if and only if the order is there.
void place_order(om::transactional::Sender& orders, const std::string& id, const std::string& body) {
  orders.send({.topic = "orders", .key = id, .payload = body}, [&](om::mysql::Transaction& tx) {
    tx.execute("INSERT INTO orders (order_id, body) VALUES (?, ?)", id, body);
  });
}
// [send]

// [check]
// Finds the outcome of half messages whose producer died. One must run somewhere; `oncemark half run` does the same.
void check_back(om::mysql::Pool& db, const std::string& brokers, std::stop_token stop) {
  om::kafka::Consumer halves{{.brokers = brokers, .group = "half.orders", .topics = {"half.orders"}}};
  om::kafka::Producer out{{.brokers = brokers}};
  om::transactional::CheckBack checks{
      db, halves, out, om::kafka::Admin{brokers}.config("half.orders"), {.sender = "orders"}};
  checks.run(stop);
}
// [check]

}  // namespace

int main(int argc, char** argv) try {
  if (argc != 3) throw om::MisuseError("usage: transactional ORDER_ID BODY");

  om::StopOnSignal signals;
  om::mysql::Pool db{example::database()};
  om::kafka::Admin{example::brokers()}.create({{.name = "half.orders"}});
  std::jthread checks([&db](const std::stop_token& stop) { check_back(db, example::brokers(), stop); });
  om::kafka::Producer out{{.brokers = example::brokers()}};
  om::transactional::Sender orders{db, out, {.name = "orders"}};

  place_order(orders, argv[1], argv[2]);
  std::cout << "placed " << argv[1] << '\n';

  // Only to show that it went out. Whatever is unsent when a process ends is sent by the check-back.
  while (orders.counts().sent == 0 && om::wait_for(signals.token(), 10ms)) {
  }
  return orders.counts().sent > 0 ? 0 : 1;
} catch (const std::exception& error) {
  om::log(om::LogLevel::error, error.what());
  return 1;
}
