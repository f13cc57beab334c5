// The relay under test: sends what lies in our outbox, prints one JSON line, and ends. Its environment is the contract
// of the peers' harness (contract.hpp).
//
//   bench_relay w2       sends PEERS_N rows that are there already
//   bench_relay w2live   writes PEERS_N rows at PEERS_PER_SECOND itself
//
//   --delete             removes what was sent
//   --source poll        polls; in w2live each commit nudges it
//   --source bell        w2live: polls, and the binlog rings for each commit
//   --source binlog      reads the binlog, in w2 from the place that bench_load has noted
//   --rows-pass          binlog: the rows were removed in the transaction that inserted them
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <fstream>
#include <functional>
#include <future>
#include <iostream>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <oncemark/binlog/bell.hpp>
#include <oncemark/binlog/relay.hpp>
#include <oncemark/kafka/producer.hpp>
#include <oncemark/observe/log.hpp>
#include <oncemark/outbox/relay.hpp>

#include "producer.hpp"

namespace om = oncemark;
using namespace std::chrono_literals;
using Steady = std::chrono::steady_clock;

namespace bench {
namespace {

enum class Source { poll, bell, binlog };

struct RelayRun {
  om::outbox::RelayOptions relay;
  Source source = Source::poll;
  RowOf row = RowOf::the_table;
};

int usage() {
  std::cerr << "usage: bench_relay w2|w2live [--delete] [--source poll|bell|binlog] [--rows-pass]\n";
  return 2;
}

/// Either relay.
class AnyRelay {
 public:
  AnyRelay(om::mysql::Pool& db, om::Sink& out, const RelayRun& run) {
    if (run.source == Source::binlog) {
      const auto rows = run.row == RowOf::the_table ? om::binlog::Rows::stay : om::binlog::Rows::pass;
      decoding_.emplace(db, out, om::binlog::RelayOptions{.outbox = run.relay, .rows = rows});
      return;
    }
    polling_.emplace(db, out, run.relay);
    if (run.source == Source::bell) bell_.emplace(db, [this](const std::string&) { polling_->nudge(); });
  }

  [[nodiscard]] std::uint64_t sent() const { return polling_ ? polling_->counts().sent : decoding_->counts().sent; }
  [[nodiscard]] bool is_ready() const {
    if (bell_ && !bell_->is_listening()) return false;
    return polling_ ? polling_->counts().shards > 0 : !decoding_->counts().place.is_empty();
  }
  /// What a commit does; nothing where the binlog tells.
  [[nodiscard]] std::function<void()> after_commit() {
    if (!polling_ || bell_) return {};
    return [this] { polling_->nudge(); };
  }

 private:
  std::optional<om::outbox::Relay> polling_;
  std::optional<om::binlog::Relay> decoding_;
  std::optional<om::binlog::Bell> bell_;  // last: it rings for the first
};

int drain(const Contract& contract, const RelayRun& run) {
  om::mysql::Pool db{our_tables(contract, 2)};
  warm(db, 1);
  om::kafka::Producer out{{.brokers = contract.brokers}};
  const double cpu_before = cpu_seconds();
  const auto begin = Steady::now();
  const auto elapsed = [&] { return std::chrono::duration<double>(Steady::now() - begin).count(); };
  AnyRelay relay{db, out, run};
  double first_secs = 0;
  for (std::uint64_t sent = 0; sent < contract.n; sent = relay.sent()) {
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

Stamps write_paced(om::mysql::Pool& db, const std::function<void()>& after_commit, RowOf row, const Contract& contract,
                   const std::vector<Item>& all, std::size_t writer, Steady::time_point start) {
  const auto interval = std::chrono::nanoseconds(1'000'000'000 / number("PEERS_PER_SECOND", "500"));
  Stamps stamps;
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (all[i].account % kWriters != writer) continue;
    std::this_thread::sleep_until(start + i * interval);
    append(db, contract.topic, all[i], row, after_commit);
    stamps.emplace_back(all[i].id, std::chrono::duration_cast<std::chrono::microseconds>(
                                       std::chrono::system_clock::now().time_since_epoch())
                                       .count());
  }
  return stamps;
}

void await_file(const std::filesystem::path& file) {
  while (!std::filesystem::exists(file)) std::this_thread::sleep_for(5ms);
}

int live(const Contract& contract, const RelayRun& run) {
  const std::filesystem::path state = variable("PEERS_STATE");
  const std::vector<Item> all = items(contract.workload, contract.n);
  om::mysql::Pool db{our_tables(contract, kWriters)};
  warm(db, kWriters);
  om::kafka::Producer out{{.brokers = contract.brokers, .linger = 0ms}};
  AnyRelay relay{db, out, run};
  while (!relay.is_ready()) std::this_thread::sleep_for(1ms);
  std::puts("READY");
  std::fflush(stdout);
  await_file(state / "go");

  const double cpu_before = cpu_seconds();
  const auto start = Steady::now() + 200ms;
  std::vector<std::future<Stamps>> writers;
  for (std::size_t writer = 0; writer < kWriters; ++writer) {
    writers.push_back(std::async(std::launch::async, [&, writer] {
      return write_paced(db, relay.after_commit(), run.row, contract, all, writer, start);
    }));
  }
  {
    std::ofstream file(state / "stamps.part");
    for (auto& writer : writers) {
      for (const auto& [id, time] : writer.get()) file << id << ',' << time << '\n';
    }
  }
  while (relay.sent() < contract.n) std::this_thread::sleep_for(1ms);
  const double secs = std::chrono::duration<double>(Steady::now() - start).count();
  std::filesystem::rename(state / "stamps.part", state / "stamps.csv");
  await_file(state / "stop");
  std::printf("{\"secs\":%.3f,\"rate\":%.0f,\"first_secs\":0,\"run_cpu_s\":%.2f}\n", secs,
              static_cast<double>(contract.n) / secs, cpu_seconds() - cpu_before);
  return 0;
}

std::optional<RelayRun> parse(const std::vector<std::string_view>& words) {
  if (words.empty() || (words[0] != "w2" && words[0] != "w2live")) return std::nullopt;
  RelayRun run;
  for (std::size_t i = 1; i < words.size(); ++i) {
    if (words[i] == "--delete") {
      run.relay.sent_rows = om::outbox::SentRows::removed;
    } else if (words[i] == "--rows-pass") {
      run.row = RowOf::the_binlog_alone;
    } else if (words[i] == "--source" && ++i < words.size()) {
      if (words[i] != "poll" && words[i] != "bell" && words[i] != "binlog") return std::nullopt;
      run.source = words[i] == "poll" ? Source::poll : words[i] == "bell" ? Source::bell : Source::binlog;
    } else {
      return std::nullopt;
    }
  }
  const bool has_bell_for_nothing = run.source == Source::bell && words[0] == "w2";
  const bool sees_no_row = run.row == RowOf::the_binlog_alone && run.source != Source::binlog;
  if (has_bell_for_nothing || sees_no_row) return std::nullopt;
  return run;
}

int run(const std::vector<std::string_view>& words) {
  const std::optional<RelayRun> run = parse(words);
  if (!run) return usage();
  return words[0] == "w2" ? drain(Contract(), *run) : live(Contract(), *run);
}

}  // namespace
}  // namespace bench

int main(int argc, char** argv) {
  om::set_log_level(om::LogLevel::warn);
  try {
    return bench::run(std::vector<std::string_view>(argv + 1, argv + argc));
  } catch (const std::exception& error) {
    std::cerr << "bench_relay: " << error.what() << '\n';
    return 1;
  }
}
