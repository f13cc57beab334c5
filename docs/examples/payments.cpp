// payments.cpp: a consumer whose handler decides for itself, and whose retry rules know the errors apart.
#include <stdexcept>
#include <string>

#include <oncemark/oncemark.hpp>

#include "environment.hpp"  // brokers() and database(): addresses, from the environment

namespace om = oncemark;
using namespace std::chrono_literals;

namespace shop {

struct OutOfStock : std::runtime_error {
  using std::runtime_error::runtime_error;
};
struct Obsolete : std::runtime_error {
  using std::runtime_error::runtime_error;
};

struct Account {
  bool is_busy = false;
  bool is_closed = false;
};

Account account_of(const om::Message& order) {
  const auto state = order.headers.text("account-state");
  return {.is_busy = state == "busy", .is_closed = state == "closed"};
}

}  // namespace shop

// [verdict]
om::Verdict charge(const om::Message& order, om::mysql::Transaction& tx) {
  const shop::Account account = shop::account_of(order);
  if (account.is_busy) return om::Verdict::retry_after(30s, "another payment of this account is under way");
  if (account.is_closed) return om::Verdict::dead_letter("the account is closed");
  tx.execute("INSERT INTO payment (order_id) VALUES (?)", order.business_key);
  return om::Verdict::done();
}
// [verdict]

// [rules]
om::retry::RetryOptions policy() {
  using om::retry::Action;
  return {.delays = {5s, 60s, 900s},
          .max_age = 24h,
          .rules = {{.errors = {"shop::OutOfStock"}, .delays = om::retry::Schedule::fixed(1h), .max_attempts = 20},
                    {.errors = {"http.4*"}, .action = Action::dead_letter},
                    {.mysql = {1452}, .action = Action::retry_here, .tries = 3},
                    {.errors = {"shop::Obsolete"}, .action = Action::discard}}};
}
// [rules]

int main() try {
  om::StopOnSignal signals;
  om::mysql::Pool db{example::database()};
  om::kafka::Consumer orders{{.brokers = example::brokers(), .group = "payments", .topics = {"orders"}}};
  om::inbox::Dedup charge_once{db,
                               {.consumer = "payments",
                                .effects = om::Effects::transaction,
                                .key_from = om::inbox::KeyFrom::json_pointer("/order/id"),
                                .on_key_conflict = om::inbox::OnKeyConflict::dead_letter,
                                .conflict_fields = {"/order/total"}},
                               charge};
  om::dead_letter::Router failures{db, {.retries = policy()}};
  om::kafka::Producer out{{.brokers = example::brokers()}};
  om::outbox::Relay relay{db, out, {.name = "payments"}};
  om::consume::Runner runner{orders, charge_once, failures};
  runner.run(signals.token());
} catch (const std::exception& error) {
  om::log(om::LogLevel::error, error.what());
  return 1;
}
