// Micro-benchmarks of what is done for every message without a server: tools/bench micro [--benchmark_filter=…].
#include <condition_variable>
#include <cstdint>
#include <list>
#include <mutex>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include <benchmark/benchmark.h>
#include <oncemark/consume/key_lanes.hpp>
#include <oncemark/consume/offset_tracker.hpp>
#include <oncemark/message/codec.hpp>
#include <oncemark/message/headers.hpp>
#include <oncemark/message/names.hpp>
#include <oncemark/testing/builders.hpp>

#include "workload.hpp"

namespace om = oncemark;

namespace bench {
namespace {

om::Record record_of(const Item& item, std::int64_t offset) {
  om::Record record = om::testing::record_with_id(item.id, {"orders", 0, offset}, item.key());
  record.payload = item.payload();
  return record;
}

/// A window of offsets that finish in order, or in an order drawn at random.
void offset_tracker(benchmark::State& state) {
  const auto window = state.range(0);
  std::vector<std::int64_t> order(static_cast<std::size_t>(window));
  std::iota(order.begin(), order.end(), 0);
  if (state.range(1) != 0) {
    Draws draws(kSeed);
    for (std::size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[draws.below(i)]);
  }
  for ([[maybe_unused]] auto _ : state) {
    om::consume::OffsetTracker tracker;
    for (std::int64_t offset = 0; offset < window; ++offset) tracker.start(offset);
    for (const std::int64_t offset : order) tracker.finish(offset);
    benchmark::DoNotOptimize(tracker.committable());
  }
  state.SetItemsProcessed(state.iterations() * window);
}
BENCHMARK(offset_tracker)->ArgNames({"window", "shuffled"})->ArgsProduct({{100, 10'000}, {0, 1}});

/// Messages of a thousand keys through the lanes, from push() until a worker has had the last one.
void key_lanes(benchmark::State& state) {
  constexpr std::size_t kMessages = 10'000;
  const std::vector<Item> all = items("w1", kMessages);
  std::mutex mutex;
  std::condition_variable wake;
  std::size_t had = 0;
  om::consume::KeyLanes lanes(
      static_cast<std::size_t>(state.range(0)), [&](std::size_t) { return static_cast<std::size_t>(state.range(1)); },
      [](std::uint64_t) { return false; },
      [&](std::size_t, om::consume::LaneItems group, const std::stop_token&) {
        const std::lock_guard lock(mutex);
        had += group.size();
        if (had == kMessages) wake.notify_one();
        return om::consume::LaneItems();
      });
  for ([[maybe_unused]] auto _ : state) {
    state.PauseTiming();
    std::vector<om::consume::LaneItems> polls(kMessages / 500);
    for (std::size_t i = 0; i < kMessages; ++i) {
      polls[i / 500].emplace_back().message = om::decode_source_record(record_of(all[i], static_cast<std::int64_t>(i)));
    }
    had = 0;
    state.ResumeTiming();
    for (om::consume::LaneItems& poll : polls) lanes.push(std::move(poll));
    std::unique_lock lock(mutex);
    wake.wait(lock, [&] { return had == kMessages; });
  }
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(kMessages));
}
BENCHMARK(key_lanes)->ArgNames({"workers", "group"})->ArgsProduct({{1, 8}, {1, 128}})->UseRealTime();

void decode_source_record(benchmark::State& state) {
  const om::Record record = record_of(items("w1", 1).front(), 0);
  for ([[maybe_unused]] auto _ : state) benchmark::DoNotOptimize(om::decode_source_record(record));
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(decode_source_record);

om::Headers some_headers() {
  return {{"traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"},
          {"content-type", "application/json"},
          {std::string(om::names::kMessageId), "0198f6a1-7c3e-7d10-9c1b-0123456789ab"},
          {"binary", std::string("\x00\xff\x10\x80", 4)}};
}

void encode_headers(benchmark::State& state) {
  const om::Headers headers = some_headers();
  for ([[maybe_unused]] auto _ : state) benchmark::DoNotOptimize(om::encode_headers(headers));
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(encode_headers);

void decode_headers(benchmark::State& state) {
  const std::string text = om::encode_headers(some_headers());
  for ([[maybe_unused]] auto _ : state) benchmark::DoNotOptimize(om::decode_headers(text));
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(decode_headers);

void payload_hash(benchmark::State& state) {
  const om::Bytes payload(std::string(static_cast<std::size_t>(state.range(0)), 'x'));
  for ([[maybe_unused]] auto _ : state) benchmark::DoNotOptimize(om::payload_hash(payload));
  state.SetBytesProcessed(state.iterations() * state.range(0));
}
BENCHMARK(payload_hash)->ArgName("bytes")->Arg(200)->Arg(1 << 20);

}  // namespace
}  // namespace bench

BENCHMARK_MAIN();
