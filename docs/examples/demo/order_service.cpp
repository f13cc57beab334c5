// order_service.cpp: places orders; each order and its event are one transaction.
//
// It can be killed at any moment and started again: which orders exist is what the table says, nothing else.
#include <atomic>
#include <chrono>
#include <set>
#include <thread>
#include <vector>

#include <oncemark/oncemark.hpp>

#include "../environment.hpp"
#include "arguments.hpp"
#include "order.hpp"

namespace om = oncemark;

namespace {

/// Saves the order and its event together: both exist after the commit, or neither does.
void place(om::mysql::Pool& db, const demo::Order& order) {
  db.transact([&](om::mysql::Transaction& tx) {
    tx.execute("INSERT INTO orders (order_id, customer, address, warehouse) VALUES (?, ?, ?, ?)", order.id(),
               order.customer, order.address, order.warehouse);
    om::outbox::append(tx, {.topic = "orders", .key = order.id(), .payload = order.body()});
  });
}

std::vector<int> not_yet_placed(om::mysql::Pool& db, int orders) {
  const auto rows = db.transact([](om::mysql::Transaction& tx) { return tx.query("SELECT order_id FROM orders"); });
  std::set<int> placed;
  for (const auto& row : rows) placed.insert(demo::parse_order_id(row.get<std::string>(0)));
  std::vector<int> missing;
  for (int number = 1; number <= orders; ++number) {
    if (!placed.contains(number)) missing.push_back(number);
  }
  return missing;
}

struct Pace {
  std::size_t threads = 4;
  std::uint64_t orders_per_second = 0;  // 0: as many as it can
};

/// A commit in doubt, like any other failure, ends the process: the next one reads the table again.
void place_all(om::mysql::Pool& db, const std::vector<int>& numbers, std::uint64_t seed, Pace pace,
               const std::stop_token& stop) {
  const auto began = std::chrono::steady_clock::now();
  const auto wait_for_turn = [&](std::size_t i) {
    if (pace.orders_per_second == 0) return;
    const auto turn = began + std::chrono::microseconds(1'000'000 * i / pace.orders_per_second);
    om::wait_for(stop, std::chrono::ceil<std::chrono::milliseconds>(turn - std::chrono::steady_clock::now()));
  };
  std::atomic<std::size_t> next{0};
  std::vector<std::exception_ptr> failures(pace.threads);
  const auto work = [&](std::exception_ptr& failure) {
    try {
      for (std::size_t i = next++; i < numbers.size() && !stop.stop_requested(); i = next++) {
        wait_for_turn(i);
        place(db, demo::make_order(numbers[i], seed));
      }
    } catch (...) {
      failure = std::current_exception();
      next = numbers.size();
    }
  };
  {
    std::vector<std::jthread> workers;
    for (auto& failure : failures) workers.emplace_back([&work, &failure] { work(failure); });
  }
  for (const auto& failure : failures) {
    if (failure) std::rethrow_exception(failure);
  }
}

}  // namespace

int main(int argc, char** argv) try {
  const demo::Arguments arguments(argc, argv, {"--orders", "--seed", "--threads", "--rate"});
  om::StopOnSignal signals;
  om::mysql::Pool db{example::database()};

  const auto missing = not_yet_placed(db, static_cast<int>(arguments.number("--orders", 5'000)));
  om::log(om::LogLevel::info, "placing orders", {{"orders", missing.size()}});
  const Pace pace{.threads = arguments.number("--threads", 4), .orders_per_second = arguments.number("--rate", 0)};
  place_all(db, missing, arguments.number("--seed", 1), pace, signals.token());
} catch (const std::exception& error) {
  om::log(om::LogLevel::error, error.what());
  return 1;
}
