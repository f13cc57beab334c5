// redeliver.cpp: sends every tenth record of the topic `orders` a second time, byte for byte: what a relay does that
// dies between the broker's ack and its mark, or a producer that tries again after a time-out.
#include <deque>
#include <set>

#include <oncemark/oncemark.hpp>

#include "../environment.hpp"
#include "arguments.hpp"
#include "order.hpp"

namespace om = oncemark;
using namespace std::chrono_literals;

namespace {

/// Sends copies and waits for the broker's ack of each.
class Copies {
 public:
  void send(const om::Record& record) {
    const om::OutgoingRecord copy{
        .topic = record.position.topic, .key = record.key, .payload = record.payload, .headers = record.headers};
    while (out_.send(copy, sent_) == om::Sent::queue_full) collect(100ms);
    ++sent_;
    collect(0ms);
  }
  void finish() {
    while (acked_ < sent_) collect(100ms);
  }
  [[nodiscard]] std::uint64_t acked() const { return acked_; }

 private:
  void collect(std::chrono::milliseconds wait) {
    for (const om::Delivery& delivery : out_.deliveries(wait)) {
      if (delivery.status != om::DeliveryStatus::acked) throw om::UnavailableError("copy not sent: " + delivery.error);
      ++acked_;
    }
  }

  om::kafka::Producer out_{{.brokers = example::brokers()}};
  std::uint64_t sent_ = 0;
  std::uint64_t acked_ = 0;
};

struct NobodyListens final : om::RebalanceListener {
  void assigned(const std::vector<om::TopicPartition>&) override {}
  void revoked(const std::vector<om::TopicPartition>&, bool) override {}
};

}  // namespace

int main(int argc, char** argv) try {
  const demo::Arguments arguments(argc, argv, {"--orders", "--seed"});
  const std::uint64_t orders = arguments.number("--orders", 5'000);
  const std::uint64_t seed = arguments.number("--seed", 1);
  constexpr std::size_t kHeldBack = 300;  // orders

  om::StopOnSignal signals;
  // No position is ever committed: a second run starts from the first record, and copies some a third time.
  om::kafka::Consumer in{{.brokers = example::brokers(), .group = "redeliver", .topics = {"orders"}}};
  NobodyListens nobody;
  in.subscribe({}, nobody);

  // Half of the copies follow their original at once, half come later: while it is being handled, or long after.
  Copies copies;
  std::set<int> seen;
  std::deque<std::pair<std::size_t, om::Record>> held_back;
  while (seen.size() < orders && !signals.token().stop_requested()) {
    for (const om::Record& record : in.poll(100ms, 500)) {
      const int number = demo::parse_order_id(record.key);
      if (!seen.insert(number).second || !demo::is_sent_twice(number, seed)) continue;
      if (number % 2 == 0) {
        copies.send(record);
      } else {
        held_back.emplace_back(seen.size() + kHeldBack, record);
      }
    }
    for (; !held_back.empty() && (held_back.front().first <= seen.size() || seen.size() == orders);
         held_back.pop_front()) {
      copies.send(held_back.front().second);
    }
  }
  copies.finish();
  in.close();
  om::log(om::LogLevel::info, "copies sent", {{"copies", copies.acked()}});
  return seen.size() < orders ? 1 : 0;
} catch (const std::exception& error) {
  om::log(om::LogLevel::error, error.what());
  return 1;
}
