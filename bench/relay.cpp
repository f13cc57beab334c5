// The relay under test: sends what lies in our outbox, prints one JSON line, and ends. Its environment is the contract
// of the peers' harness (contract.hpp).
//
//   bench_relay w2 [--delete]   sends PEERS_N rows that are there already; --delete removes what was sent
#include <chrono>
#include <cstdio>
#include <exception>
#include <iostream>
#include <string_view>
#include <thread>
#include <vector>

#include <oncemark/kafka/producer.hpp>
#include <oncemark/observe/log.hpp>
#include <oncemark/outbox/relay.hpp>

#include "producer.hpp"

namespace om = oncemark;
using namespace std::chrono_literals;
using Steady = std::chrono::steady_clock;

namespace bench {
namespace {

int usage() {
  std::cerr << "usage: bench_relay w2 [--delete]\n";
  return 2;
}

int drain(const Contract& contract, const om::outbox::RelayOptions& options) {
  om::mysql::Pool db{our_tables(contract, 2)};
  warm(db, 1);
  om::kafka::Producer out{{.brokers = contract.brokers}};
  const double cpu_before = cpu_seconds();
  const auto begin = Steady::now();
  const auto elapsed = [&] { return std::chrono::duration<double>(Steady::now() - begin).count(); };
  om::outbox::Relay relay{db, out, options};
  double first_secs = 0;
  for (std::uint64_t sent = 0; sent < contract.n; sent = relay.counts().sent) {
    if (sent > 0 && first_secs == 0) first_secs = elapsed();
    std::this_thread::sleep_for(1ms);
  }
  const double secs = elapsed();
  std::printf("{\"secs\":%.3f,\"rate\":%.0f,\"first_secs\":%.3f,\"run_cpu_s\":%.2f}\n", secs,
              static_cast<double>(contract.n) / secs, first_secs, cpu_seconds() - cpu_before);
  return 0;
}

}  // namespace
}  // namespace bench

int main(int argc, char** argv) {
  const std::vector<std::string_view> words(argv + 1, argv + argc);
  if (words.empty() || words[0] != "w2") return bench::usage();
  om::outbox::RelayOptions options;
  for (std::size_t i = 1; i < words.size(); ++i) {
    if (words[i] != "--delete") return bench::usage();
    options.sent_rows = om::outbox::SentRows::removed;
  }
  om::set_log_level(om::LogLevel::warn);
  try {
    return bench::drain(bench::Contract(), options);
  } catch (const std::exception& error) {
    std::cerr << "bench_relay: " << error.what() << '\n';
    return 1;
  }
}
