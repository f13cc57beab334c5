#include "transactional/delivery_round.hpp"

#include <span>

#include <oncemark/core/clock.hpp>

namespace oncemark::transactional {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kWait{50};

// Tokens are indices.
void send_all(Sink& sink, std::span<const OutgoingRecord> records, std::span<Delivered> results,
              milliseconds report_timeout) {
  for (Delivered& result : results)
    result = {.error = "no report within " + std::to_string(report_timeout.count()) + " ms"};
  const SteadyTime until = std::chrono::steady_clock::now() + report_timeout;
  std::size_t handed_over = 0;
  std::size_t reported = 0;
  while (reported < records.size() && std::chrono::steady_clock::now() < until) {
    while (handed_over < records.size() && sink.send(records[handed_over], handed_over) == Sent::accepted)
      ++handed_over;
    for (const Delivery& delivery : sink.deliveries(kWait)) {
      if (delivery.token >= results.size()) continue;
      results[delivery.token] = {.status = delivery.status, .error = delivery.error};
      ++reported;
    }
  }
  if (reported < handed_over) sink.discard();
}

}  // namespace

std::vector<Delivered> deliver(Sink& sink, const std::vector<OutgoingRecord>& records, milliseconds report_timeout) {
  std::vector<Delivered> results(records.size());
  send_all(sink, records, results, report_timeout);
  if (records.size() < 2) return results;
  for (std::size_t i = 0; i < records.size(); ++i) {
    if (results[i].status != DeliveryStatus::refused) continue;
    send_all(sink, std::span(records).subspan(i, 1), std::span(results).subspan(i, 1), report_timeout);
  }
  return results;
}

}  // namespace oncemark::transactional
