#include "outbox/flight.hpp"

#include <algorithm>
#include <utility>

namespace oncemark::outbox {
namespace {

Answer to_answer(DeliveryStatus status) noexcept {
  switch (status) {
    case DeliveryStatus::acked:
      return Answer::acked;
    case DeliveryStatus::refused:
      return Answer::refused;
    case DeliveryStatus::failed:
      return Answer::failed;
  }
  return Answer::failed;
}

}  // namespace

void Flight::add(FlightRow row) {
  if (row.answer == Answer::none) ++open_;
  rows_.push_back(std::move(row));
}

void Flight::reopen(FlightRow& row) {
  row.answer = Answer::none;
  ++open_;
}

bool Flight::apply(const Delivery& delivery) {
  const auto row = std::lower_bound(rows_.begin(), rows_.end(), delivery.token,
                                    [](const FlightRow& r, std::uint64_t token) { return r.id < token; });
  if (row == rows_.end() || row->id != delivery.token || row->answer != Answer::none) return false;
  --open_;
  row->answer = to_answer(delivery.status);
  row->error = delivery.error;
  row->refusal = delivery.refusal;
  return row->answer == Answer::acked;
}

void Flight::give_up(const std::string& why) {
  for (FlightRow& row : rows_) {
    if (row.answer != Answer::none) continue;
    row.answer = Answer::failed;
    row.error = why;
  }
  open_ = 0;
}

void Flight::clear() {
  rows_.clear();
  open_ = 0;
}

bool Flight::has(Answer answer) const noexcept {
  return std::any_of(rows_.begin(), rows_.end(), [&](const FlightRow& row) { return row.answer == answer; });
}

}  // namespace oncemark::outbox
