// The relay under test: sends what lies in our outbox, prints one JSON line, and ends. Its environment is the contract
// of the peers' harness (contract.hpp).
//
//   bench_relay w2 [--delete]       sends PEERS_N rows that are there already; --delete removes what was sent
//   bench_relay w2live [--delete]   writes PEERS_N rows at PEERS_PER_SECOND itself, each commit nudging the relay
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <fstream>
#include <future>
#include <iostream>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
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
  std::cerr << "usage: bench_relay w2|w2live [--delete]\n";
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

/// Microseconds since the epoch at the return of each commit, by message.
using Stamps = std::vector<std::pair<std::string, std::int64_t>>;

Stamps write_paced(om::mysql::Pool& db, om::outbox::Relay& relay, const Contract& contract,
                   const std::vector<Item>& all, std::size_t writer, Steady::time_point start) {
  const auto interval = std::chrono::nanoseconds(1'000'000'000 / number("PEERS_PER_SECOND", "500"));
  Stamps stamps;
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (all[i].account % kWriters != writer) continue;
    std::this_thread::sleep_until(start + i * interval);
    append(db, contract.topic, all[i], [&relay] { relay.nudge(); });
    stamps.emplace_back(all[i].id, std::chrono::duration_cast<std::chrono::microseconds>(
                                       std::chrono::system_clock::now().time_since_epoch())
                                       .count());
  }
  return stamps;
}

void await_file(const std::filesystem::path& file) {
  while (!std::filesystem::exists(file)) std::this_thread::sleep_for(5ms);
}

int live(const Contract& contract, const om::outbox::RelayOptions& options) {
  const std::filesystem::path state = variable("PEERS_STATE");
  const std::vector<Item> all = items(contract.workload, contract.n);
  om::mysql::Pool db{our_tables(contract, kWriters)};
  warm(db, kWriters);
  om::kafka::Producer out{{.brokers = contract.brokers, .linger = 0ms}};
  om::outbox::Relay relay{db, out, options};
  while (relay.counts().shards == 0) std::this_thread::sleep_for(1ms);
  std::puts("READY");
  std::fflush(stdout);
  await_file(state / "go");

  const double cpu_before = cpu_seconds();
  const auto start = Steady::now() + 200ms;
  std::vector<std::future<Stamps>> writers;
  for (std::size_t writer = 0; writer < kWriters; ++writer) {
    writers.push_back(
        std::async(std::launch::async, [&, writer] { return write_paced(db, relay, contract, all, writer, start); }));
  }
  {
    std::ofstream file(state / "stamps.part");
    for (auto& writer : writers) {
      for (const auto& [id, time] : writer.get()) file << id << ',' << time << '\n';
    }
  }
  while (relay.counts().sent < contract.n) std::this_thread::sleep_for(1ms);
  const double secs = std::chrono::duration<double>(Steady::now() - start).count();
  std::filesystem::rename(state / "stamps.part", state / "stamps.csv");
  await_file(state / "stop");
  std::printf("{\"secs\":%.3f,\"rate\":%.0f,\"first_secs\":0,\"run_cpu_s\":%.2f}\n", secs,
              static_cast<double>(contract.n) / secs, cpu_seconds() - cpu_before);
  return 0;
}

}  // namespace
}  // namespace bench

int main(int argc, char** argv) {
  const std::vector<std::string_view> words(argv + 1, argv + argc);
  if (words.empty() || (words[0] != "w2" && words[0] != "w2live")) return bench::usage();
  om::outbox::RelayOptions options;
  for (std::size_t i = 1; i < words.size(); ++i) {
    if (words[i] != "--delete") return bench::usage();
    options.sent_rows = om::outbox::SentRows::removed;
  }
  om::set_log_level(om::LogLevel::warn);
  try {
    return words[0] == "w2" ? bench::drain(bench::Contract(), options) : bench::live(bench::Contract(), options);
  } catch (const std::exception& error) {
    std::cerr << "bench_relay: " << error.what() << '\n';
    return 1;
  }
}
