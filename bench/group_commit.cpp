// Group sizes that follow time against fixed ones: what decision 3 rests on, measured through the runner and Dedup, with
// a source that never runs dry in place of Kafka. Every message adds one to a row; which row, and how long the handler
// works besides, is the mix. Prints a line a case and round, then a table of medians.
#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <functional>
#include <iostream>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <oncemark/consume/failure.hpp>
#include <oncemark/consume/runner.hpp>
#include <oncemark/inbox/dedup.hpp>
#include <oncemark/message/names.hpp>
#include <oncemark/message/ports.hpp>
#include <oncemark/mysql/pool.hpp>
#include <oncemark/observe/log.hpp>

#include "consumer.hpp"
#include "server.hpp"
#include "workload.hpp"

namespace om = oncemark;
using namespace std::chrono_literals;

namespace bench {
namespace {

constexpr std::size_t kKeys = 10'000;
constexpr std::array kSizes{"1", "10", "100", "adaptive"};

struct Mix {
  const char* name;
  std::size_t rows;  // that all messages share; 0: every key has its own
};
constexpr std::array<Mix, 3> kMixes{{{"private", 0}, {"10,000 shared", 10'000}, {"100 shared", 100}}};
constexpr std::array<std::chrono::milliseconds, 2> kWork{0ms, 2ms};

/// New messages for ever, in four partitions; the row to change is in the payload.
class Endless final : public om::Source {
 public:
  Endless(std::string group, Mix mix, std::uint64_t seed) : group_(std::move(group)), mix_(mix), draws_(seed) {}

  [[nodiscard]] const std::string& group() const override { return group_; }
  [[nodiscard]] const std::vector<std::string>& topics() const override { return topics_; }
  void subscribe(const std::vector<om::TopicNeed>&, om::RebalanceListener& listener) override {
    listener_ = &listener;
    listener.assigned(partitions_);
  }
  [[nodiscard]] std::vector<om::Record> poll(std::chrono::milliseconds, std::size_t max) override {
    if (max == 0) std::this_thread::sleep_for(1ms);  // no room: as a broker's poll would, come back soon
    std::vector<om::Record> records(max);
    for (om::Record& record : records) {
      const std::size_t key = draws_.below(kKeys);
      record.position = {topics_[0], static_cast<std::int32_t>(key % 4), next_[key % 4]++};
      record.key = "key-" + std::to_string(key);
      record.payload = std::to_string(mix_.rows == 0 ? key : draws_.below(mix_.rows));
      record.headers.append(std::string(om::names::kMessageId), draws_.uuid());
    }
    return records;
  }
  void commit(const std::vector<om::Position>&) override {}
  void close() override { listener_->revoked(partitions_, false); }

 private:
  std::string group_;
  std::vector<std::string> topics_{"endless"};
  std::vector<om::TopicPartition> partitions_{{"endless", 0}, {"endless", 1}, {"endless", 2}, {"endless", 3}};
  Mix mix_;
  Draws draws_;
  std::array<std::int64_t, 4> next_{};
  om::RebalanceListener* listener_ = nullptr;
};

/// Nothing may end here: a handler that cannot fail was made to.
class NoFailures final : public om::consume::FailureSink {
 public:
  [[nodiscard]] std::vector<om::TopicNeed> prepare(const std::string&, const std::string&,
                                                   const std::vector<std::string>&) override {
    return {};
  }
  [[nodiscard]] om::consume::Routed route(const om::consume::Failure& failure) override {
    if (count_++ == 0) std::cerr << "group_commit: a message failed: " << failure.error.text << '\n';
    return om::consume::Routed::settled;
  }
  [[nodiscard]] std::uint64_t count() const { return count_; }

 private:
  std::atomic<std::uint64_t> count_{0};
};

struct Settings {
  std::size_t rounds = 5;
  std::size_t workers = 8;
  double seconds = 3;
};

struct Measured {
  double rate = 0;
  bool ok = false;
  std::uint64_t lost_races = 0;
};

class Cases {
 public:
  explicit Cases(const Settings& settings)
      : settings_(settings), server_(contract_, contract_.business), db_(our_tables(contract_, settings.workers)) {
    warm(db_, settings.workers + 2);
  }

  Measured run(const Mix& mix, std::chrono::milliseconds work, std::string_view size) {
    start_anew();
    const std::string consumer = "group-commit";
    const std::string update = "UPDATE " + contract_.business + ".counter SET n = n + 1 WHERE id = ?";
    om::inbox::Dedup once{db_,
                          {.consumer = consumer, .effects = om::Effects::transaction},
                          [&](const om::Message& message, om::mysql::Transaction& tx) {
                            if (work > 0ms) std::this_thread::sleep_for(work);
                            tx.execute(update, std::stoll(message.payload.str()));
                          }};
    RunOptions options{.workers = settings_.workers};
    if (size != "adaptive") {
      options.is_fixed = true;
      options.max_group = std::stoul(std::string(size));
    }
    Endless source(consumer, mix, ++seed_);
    NoFailures failures;
    om::consume::Runner runner{source, once, failures, runner_options(options)};
    Measured measured;
    std::stop_source stop;
    std::jthread clock([&] {
      std::this_thread::sleep_for(1s);  // connections are made, statements prepared, the size found
      const std::uint64_t before = runner.counts().done;
      const auto begin = std::chrono::steady_clock::now();
      std::this_thread::sleep_for(std::chrono::duration<double>(settings_.seconds));
      const std::uint64_t done = runner.counts().done - before;
      measured.rate =
          static_cast<double>(done) / std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
      stop.request_stop();
    });
    runner.run(stop.get_token());
    clock.join();
    measured.lost_races = runner.counts().in_place_retries;
    measured.ok = failures.count() == 0 && is_right(runner.counts().done);
    return measured;
  }

 private:
  void start_anew() {
    server_.run("CREATE TABLE IF NOT EXISTS counter (id INT NOT NULL PRIMARY KEY, n BIGINT NOT NULL) ENGINE=InnoDB");
    server_.run("TRUNCATE TABLE counter");
    server_.run("TRUNCATE TABLE " + contract_.ours + ".consumed_message");
    std::string insert = "INSERT INTO counter VALUES (0, 0)";
    for (std::size_t id = 1; id < kKeys; ++id) insert += ", (" + std::to_string(id) + ", 0)";
    server_.run(insert);
  }
  /// As many effects as marks, and no fewer than the runner counted.
  bool is_right(std::uint64_t counted) {
    const std::uint64_t effects = std::stoull(server_.value("SELECT SUM(n) FROM counter"));
    const std::uint64_t marks =
        std::stoull(server_.value("SELECT COUNT(*) FROM " + contract_.ours + ".consumed_message WHERE state = 'done'"));
    return effects == marks && marks == counted;
  }

  Contract contract_;
  Settings settings_;
  Server server_;
  om::mysql::Pool db_;
  std::uint64_t seed_ = 0;
};

double median(std::vector<double> values) {
  std::ranges::sort(values);
  const std::size_t half = values.size() / 2;
  return values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2;
}

int run(const Settings& settings) {
  om::set_log_level(om::LogLevel::error);
  Cases cases(settings);
  std::map<std::string, std::vector<double>> rates;
  const auto name_of = [](const Mix& mix, std::chrono::milliseconds work, std::string_view size) {
    return std::string(mix.name) + "/" + std::to_string(work.count()) + "/" + std::string(size);
  };
  bool all_right = true;
  for (std::size_t round = 1; round <= settings.rounds; ++round) {
    for (const Mix& mix : kMixes) {
      for (const auto work : kWork) {
        for (const std::string_view size : kSizes) {
          const Measured measured = cases.run(mix, work, size);
          all_right = all_right && measured.ok;
          rates[name_of(mix, work, size)].push_back(measured.rate);
          std::printf(
              "{\"round\":%zu,\"rows\":\"%s\",\"work_ms\":%lld,\"group\":\"%s\",\"rate\":%.0f,\"lost_races\":%llu,"
              "\"ok\":%s}\n",
              round, mix.name, static_cast<long long>(work.count()), std::string(size).c_str(), measured.rate,
              static_cast<unsigned long long>(measured.lost_races), measured.ok ? "true" : "false");
          std::fflush(stdout);
        }
      }
    }
  }
  std::printf("\nmessages/s, median of %zu rounds of %g s, %zu workers\n\n", settings.rounds, settings.seconds,
              settings.workers);
  std::printf("| rows | work | 1 | 10 | 100 | adaptive | adaptive / best fixed |\n|---|---|---|---|---|---|---|\n");
  for (const Mix& mix : kMixes) {
    for (const auto work : kWork) {
      std::printf("| %s | %lld ms |", mix.name, static_cast<long long>(work.count()));
      double best = 0;
      double last = 0;
      for (const std::string_view size : kSizes) {
        last = median(rates[name_of(mix, work, size)]);
        if (size != "adaptive") best = std::max(best, last);
        std::printf(" %.0f |", last);
      }
      std::printf(" %.2f |\n", last / best);
    }
  }
  return all_right ? 0 : 1;
}

}  // namespace
}  // namespace bench

int main(int argc, char** argv) {
  bench::Settings settings;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string_view name = argv[i];
    if (name == "--rounds") settings.rounds = std::strtoul(argv[i + 1], nullptr, 10);
    if (name == "--workers") settings.workers = std::strtoul(argv[i + 1], nullptr, 10);
    if (name == "--seconds") settings.seconds = std::strtod(argv[i + 1], nullptr);
  }
  try {
    return bench::run(settings);
  } catch (const std::exception& error) {
    std::cerr << "group_commit: " << error.what() << '\n';
    return 1;
  }
}
