// A relay as a process of its own, to be killed and paused by tests. Its sink appends a line per record to a file,
// which stands for the topic.
//
// usage: relay_worker SCHEMA FILE|kafka [poll|binlog|capture|ROWS]; capture: of table orders by id, whose column n becomes the
// record. With ROWS it appends so many rows without a key, which it sends
// directly, and is no relay. The database comes from the environment that tools/stack exports.
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <unistd.h>

#include <oncemark/binlog/capture.hpp>
#include <oncemark/binlog/relay.hpp>
#include <oncemark/kafka/producer.hpp>
#include <oncemark/outbox/direct.hpp>
#include <oncemark/outbox/relay.hpp>

#include "support/stack.hpp"

namespace om = oncemark;
using namespace std::chrono_literals;

namespace {

/// Acks what it has appended to the file: one write() a record, so that lines of several processes do not mix.
class FileSink final : public om::Sink {
 public:
  explicit FileSink(const char* path) : file_(::open(path, O_WRONLY | O_APPEND | O_CLOEXEC)) {}
  ~FileSink() override { ::close(file_); }

  om::Sent send(const om::OutgoingRecord& record, std::uint64_t token) override {
    const std::string line = (record.key.is_null() ? "-" : record.key.str()) + ' ' + record.payload.str() + '\n';
    if (::write(file_, line.data(), line.size()) != static_cast<ssize_t>(line.size())) std::abort();
    reports_.push_back({token, om::DeliveryStatus::acked, {}});
    return om::Sent::accepted;
  }
  std::vector<om::Delivery> deliveries(std::chrono::milliseconds) override { return std::exchange(reports_, {}); }
  void discard() override { reports_.clear(); }

 private:
  int file_;
  std::vector<om::Delivery> reports_;
};

void send_directly(om::mysql::Pool& pool, om::Sink& sink, int rows) {
  om::outbox::DirectSend direct(pool, sink, {.grace = 500ms});
  for (int i = 1; i <= rows; ++i) {
    pool.transact([&](om::mysql::Transaction& tx) { direct.append(tx, {.topic = "t", .payload = std::to_string(i)}); });
  }
}

}  // namespace

int main(int argc, char** argv) {
  const std::string source = argc == 4 ? argv[3] : "poll";
  if (argc != 3 && argc != 4) {
    std::cerr << "usage: relay_worker SCHEMA FILE|kafka [poll|binlog|capture|ROWS]\n";
    return 2;
  }
  om::mysql::PoolOptions options = om::testing::Stack::mysql();
  options.schema = argv[1];
  om::mysql::Pool pool(options);
  std::optional<om::kafka::Producer> producer;
  std::optional<FileSink> file;
  if (std::string_view(argv[2]) == "kafka") {
    producer.emplace(om::kafka::ProducerOptions{.brokers = om::testing::Stack::brokers()});
  } else {
    file.emplace(argv[2]);
  }
  om::Sink& sink = producer ? static_cast<om::Sink&>(*producer) : *file;
  if (source != "poll" && source != "binlog" && source != "capture") {
    send_directly(pool, sink, std::stoi(source));
    return 0;
  }
  const om::outbox::RelayOptions relay_options{.batch = 50, .poll_interval = 5ms, .max_poll_interval = 20ms};
  std::optional<om::outbox::Relay> polling;
  std::optional<om::binlog::Relay> decoding;
  if (source == "poll") polling.emplace(pool, sink, relay_options);
  if (source == "binlog") decoding.emplace(pool, sink, om::binlog::RelayOptions{.outbox = relay_options});
  std::optional<om::binlog::Capture> capture;
  if (source == "capture") {
    capture.emplace(
        pool, sink,
        om::binlog::CaptureOptions{
            .name = "test", .tables = {{.table = "orders", .topic = "t", .key = "id", .columns = {"n"}}}, .batch = 50});
  }
  for (;;) ::pause();
}
