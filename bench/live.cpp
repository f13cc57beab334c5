// The consumer of w2live: watches the topic while the program under test writes and relays, and prints how long each
// record took from the return of its commit. Not linked with what it judges. Its environment is the contract of the
// peers' harness (contract.hpp), and PEERS_STATE, a directory where it makes `go` and awaits `stamps.csv`.
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <fstream>
#include <memory>
#include <stdexcept>
#include <string>
#include <unordered_map>
#include <vector>

#include <librdkafka/rdkafka.h>

#include "contract.hpp"

namespace bench {
namespace {

using namespace std::chrono_literals;
using Steady = std::chrono::steady_clock;

constexpr std::int64_t kWarmUp = 3'000'000;  // microseconds that are left out

std::int64_t micros() {
  return std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::system_clock::now().time_since_epoch())
      .count();
}

[[noreturn]] void fail(const std::string& what) { throw std::runtime_error(what); }

using Client = std::unique_ptr<rd_kafka_t, void (*)(rd_kafka_t*)>;

/// A consumer that has every partition, from its beginning.
Client consumer(const Contract& contract) {
  char why[512] = "";
  rd_kafka_conf_t* conf = rd_kafka_conf_new();
  for (const auto& [name, value] : {std::pair{"bootstrap.servers", contract.brokers},
                                    {"group.id", std::string("bench-live")},
                                    {"enable.auto.commit", std::string("false")}}) {
    if (rd_kafka_conf_set(conf, name, value.c_str(), why, sizeof why) != RD_KAFKA_CONF_OK) fail(why);
  }
  Client client(rd_kafka_new(RD_KAFKA_CONSUMER, conf, why, sizeof why), rd_kafka_destroy);
  if (!client) fail(why);
  rd_kafka_poll_set_consumer(client.get());
  const std::unique_ptr<rd_kafka_topic_t, void (*)(rd_kafka_topic_t*)> topic(
      rd_kafka_topic_new(client.get(), contract.topic.c_str(), nullptr), rd_kafka_topic_destroy);
  const rd_kafka_metadata_t* found = nullptr;
  if (const auto error = rd_kafka_metadata(client.get(), 0, topic.get(), &found, 10'000)) fail(rd_kafka_err2str(error));
  const std::unique_ptr<const rd_kafka_metadata_t, void (*)(const rd_kafka_metadata_t*)> owner(
      found, rd_kafka_metadata_destroy);
  const std::unique_ptr<rd_kafka_topic_partition_list_t, void (*)(rd_kafka_topic_partition_list_t*)> all(
      rd_kafka_topic_partition_list_new(8), rd_kafka_topic_partition_list_destroy);
  for (std::int32_t i = 0; i < found->topics[0].partition_cnt; ++i) {
    rd_kafka_topic_partition_list_add(all.get(), contract.topic.c_str(), i)->offset = RD_KAFKA_OFFSET_BEGINNING;
  }
  if (const auto error = rd_kafka_assign(client.get(), all.get())) fail(rd_kafka_err2str(error));
  return client;
}

std::string id_of(const rd_kafka_message_t& message) {
  rd_kafka_headers_t* headers = nullptr;
  const void* value = nullptr;
  std::size_t size = 0;
  if (rd_kafka_message_headers(&message, &headers) != RD_KAFKA_RESP_ERR_NO_ERROR) return {};
  if (rd_kafka_header_get_last(headers, "id", &value, &size) != RD_KAFKA_RESP_ERR_NO_ERROR) return {};
  return {static_cast<const char*>(value), size};
}

int watch() {
  const Contract contract;
  const std::filesystem::path state = variable("PEERS_STATE");
  const Client client = consumer(contract);
  rd_kafka_consumer_poll(client.get(), 500);  // until it fetches
  std::ofstream(state / "go").flush();

  std::unordered_map<std::string, std::int64_t> arrived;
  const auto deadline = Steady::now() + 90s;
  while (arrived.size() < contract.n || !std::filesystem::exists(state / "stamps.csv")) {
    if (Steady::now() > deadline) fail("only " + std::to_string(arrived.size()) + " records came within 90 s");
    const std::unique_ptr<rd_kafka_message_t, void (*)(rd_kafka_message_t*)> message(
        rd_kafka_consumer_poll(client.get(), 100), rd_kafka_message_destroy);
    if (message && message->err == 0) arrived.try_emplace(id_of(*message), micros());
  }

  std::vector<std::pair<std::int64_t, std::int64_t>> taken;  // stamp, latency
  std::ifstream stamps(state / "stamps.csv");
  for (std::string line; std::getline(stamps, line);) {
    const std::size_t comma = line.find(',');
    const std::int64_t stamp = std::stoll(line.substr(comma + 1));
    taken.emplace_back(stamp, arrived.at(line.substr(0, comma)) - stamp);
  }
  if (taken.size() != contract.n) fail("there are " + std::to_string(taken.size()) + " stamps");
  const std::int64_t begin = std::min_element(taken.begin(), taken.end())->first + kWarmUp;
  std::vector<std::int64_t> latencies;
  for (const auto& [stamp, latency] : taken) {
    if (stamp >= begin) latencies.push_back(latency);
  }
  if (latencies.empty()) fail("the run was shorter than its warm-up of 3 s");
  std::sort(latencies.begin(), latencies.end());
  const auto at = [&](double share) {
    return static_cast<double>(latencies[static_cast<std::size_t>(share * static_cast<double>(latencies.size() - 1))]) /
           1'000;
  };
  std::printf("{\"measured\":%zu,\"p50_ms\":%.1f,\"p99_ms\":%.1f,\"max_ms\":%.1f}\n", latencies.size(), at(0.5),
              at(0.99), at(1));
  return 0;
}

}  // namespace
}  // namespace bench

int main() {
  try {
    return bench::watch();
  } catch (const std::exception& error) {
    std::cerr << "bench_live: " << error.what() << '\n';
    return 1;
  }
}
