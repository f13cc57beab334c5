// w6: produces PEERS_N messages at a steady rate, consumes them through the library in the same process, and prints
// how long each class of keys waited: from the moment a message was due to be produced (so that a producer that lags
// hides nothing) to the return of the commit that applied it. The first messages, while the group is joined, are left
// out of the latencies and not of the verdict.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <exception>
#include <iostream>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <oncemark/consume/runner.hpp>
#include <oncemark/dead_letter/router.hpp>
#include <oncemark/inbox/dedup.hpp>
#include <oncemark/kafka/admin.hpp>
#include <oncemark/kafka/consumer.hpp>
#include <oncemark/kafka/producer.hpp>
#include <oncemark/message/codec.hpp>
#include <oncemark/observe/log.hpp>

#include "consumer.hpp"
#include "workload.hpp"

namespace om = oncemark;
using namespace std::chrono_literals;
using Steady = std::chrono::steady_clock;

namespace bench {
namespace {

constexpr auto kSlow = 1s;

class Effect {
 public:
  Effect(const std::string& database, std::vector<Steady::time_point>& committed)
      : accounts_(database), committed_(committed) {}

  void operator()(const om::Message& message, om::mysql::Transaction& tx) const {
    const Deposit deposit = read_deposit(message);
    const auto number = static_cast<std::size_t>(om::parse_number(message.headers.text("number").value(), "number"));
    if (message.headers.contains("slow")) std::this_thread::sleep_for(kSlow);
    accounts_.update(tx, deposit);
    accounts_.insert(tx, message.business_key, deposit);
    tx.after_commit([&committed = committed_, number] { committed[number] = Steady::now(); });
  }

 private:
  Accounts accounts_;
  std::vector<Steady::time_point>& committed_;  // each place is written once, and read when the workers are gone
};

/// Sends each message when it is due.
void produce(const Contract& contract, const std::vector<Item>& all, Steady::time_point begin,
             Steady::duration interval, const std::stop_token& stop) {
  om::kafka::Producer producer({.brokers = contract.brokers, .linger = 0ms});
  std::size_t acked = 0;
  const auto collect = [&](std::chrono::milliseconds wait) {
    for (const om::Delivery& delivery : producer.deliveries(wait)) {
      if (delivery.status != om::DeliveryStatus::acked) throw std::runtime_error("not on the topic: " + delivery.error);
      ++acked;
    }
  };
  for (std::size_t i = 0; i < all.size() && !stop.stop_requested(); ++i) {
    std::this_thread::sleep_until(begin + interval * i);
    om::OutgoingRecord record{.topic = contract.topic, .key = all[i].key(), .payload = all[i].payload()};
    record.headers.append("message-id", all[i].id);
    record.headers.append("number", std::to_string(i));
    if (all[i].is_slow) record.headers.append("slow", "1");
    while (producer.send(record, i) == om::Sent::queue_full) collect(10ms);
    collect(0ms);
  }
  while (acked < all.size() && !stop.stop_requested()) collect(100ms);
}

/// name_p50_ms and so on; empty for a class without messages.
std::string latencies(const std::string& name, std::vector<double> ms) {
  if (ms.empty()) return {};
  std::ranges::sort(ms);
  const auto at = [&](double share) {
    return ms[std::min(ms.size() - 1, static_cast<std::size_t>(share * static_cast<double>(ms.size())))];
  };
  char text[256];
  std::snprintf(text, sizeof text, ",\"%s\":%zu,\"%s_p50_ms\":%.2f,\"%s_p99_ms\":%.2f,\"%s_max_ms\":%.2f", name.c_str(),
                ms.size(), name.c_str(), at(0.50), name.c_str(), at(0.99), name.c_str(), ms.back());
  return text;
}

int run(const RunOptions& options) {
  om::set_log_level(om::LogLevel::error);
  const Contract contract;
  const std::uint64_t rate = number("ONCEMARK_BENCH_RATE", "1000");
  const std::vector<Item> all = items(contract.workload, contract.n, contract.seed, contract.slow_every);
  om::mysql::Pool db{our_tables(contract, options.workers)};
  warm(db, options.workers + 2);
  om::kafka::Admin(contract.brokers).create({{contract.topic, 4}});

  om::kafka::Consumer source{{.brokers = contract.brokers, .group = contract.group, .topics = {contract.topic}}};
  std::vector<Steady::time_point> committed(all.size());
  om::inbox::Dedup once{db, dedup_options(contract), Effect(contract.business, committed)};
  om::dead_letter::Router failures{db, {}};
  om::consume::Runner runner{source, once, failures, runner_options(options)};

  std::stop_source stop;
  const double cpu_before = cpu_seconds();
  const auto begin = Steady::now() + 500ms;
  const Steady::duration interval = std::chrono::nanoseconds(1'000'000'000 / rate);
  std::exception_ptr failure;
  std::jthread producer([&](const std::stop_token& end) {
    try {
      produce(contract, all, begin, interval, end);
    } catch (...) {
      failure = std::current_exception();
      stop.request_stop();
    }
  });
  std::jthread watcher([&](const std::stop_token& end) {
    const auto deadline = begin + interval * all.size() + 60s;  // then the verdict says what is missing
    while (!end.stop_requested() && runner.counts().done < all.size() && Steady::now() < deadline) {
      std::this_thread::sleep_for(1ms);
    }
    stop.request_stop();
  });
  runner.run(stop.get_token());
  producer.request_stop();
  producer.join();
  if (failure) std::rethrow_exception(failure);

  std::vector<double> others, hot, rest, slow;
  Steady::time_point last = begin;
  const std::size_t skipped = std::min(static_cast<std::size_t>(3 * rate), all.size() / 4);
  for (std::size_t i = 0; i < all.size(); ++i) {
    last = std::max(last, committed[i]);
    if (i < skipped || committed[i] == Steady::time_point()) continue;
    const double ms = std::chrono::duration<double, std::milli>(committed[i] - (begin + interval * i)).count();
    if (all[i].is_slow) {
      slow.push_back(ms);
      continue;
    }
    others.push_back(ms);
    (all[i].account < kHotAccounts ? hot : rest).push_back(ms);
  }
  const double secs = std::chrono::duration<double>(last - begin).count();
  std::printf("{\"secs\":%.3f,\"rate\":%.0f,\"run_cpu_s\":%.2f%s%s%s%s}\n", secs,
              static_cast<double>(all.size()) / secs, cpu_seconds() - cpu_before, latencies("others", others).c_str(),
              latencies("hot", hot).c_str(), latencies("rest", rest).c_str(), latencies("slow", slow).c_str());
  return 0;
}

}  // namespace
}  // namespace bench

int main(int argc, char** argv) {
  try {
    return bench::run(bench::parse_options(argc, argv));
  } catch (const std::exception& error) {
    std::cerr << "hot_keys: " << error.what() << '\n';
    return 1;
  }
}
