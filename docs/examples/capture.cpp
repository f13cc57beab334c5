// capture.cpp: changes of a table become messages, for tables whose writers know no outbox.
#include <string>

#include <oncemark/oncemark.hpp>

#include "environment.hpp"

namespace om = oncemark;
using namespace std::chrono_literals;

namespace {

// [capture]
/// Orders that were paid: updates alone, two columns of them, all of an order in its order.
om::binlog::CapturedTable paid_orders() {
  return {.table = "orders",
          .topic = "orders.paid",
          .key = "order_id",
          .changes = {om::binlog::Change::update},
          .columns = {"order_id", "state"},
          .where = {"before.state <> 'paid'", "after.state = 'paid'"}};
}
// [capture]

}  // namespace

int main() try {
  om::StopOnSignal signals;
  om::mysql::Pool db{example::database()};
  om::kafka::Producer out{{.brokers = example::brokers()}};
  om::binlog::Capture capture{db, out, {.name = "orders", .tables = {paid_orders()}}};
  while (!capture.failure() && om::wait_for(signals.token(), 500ms)) {
  }
  return capture.failure() ? 1 : 0;  // the log has said why
} catch (const std::exception& error) {
  om::log(om::LogLevel::error, error.what());
  return 1;
}
