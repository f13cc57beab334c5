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

bool is_trouble(Answer answer) noexcept { return answer == Answer::refused || answer == Answer::failed; }

}  // namespace

void Flight::add(FlightRow row) {
  if (row.answer == Answer::none) ++open_;
  if (is_trouble(row.answer)) is_sound_ = false;
  const std::uint64_t id = row.id;
  rows_.insert_or_assign(id, std::move(row));
}

void Flight::reopen(FlightRow& row) {
  row.answer = Answer::none;
  ++open_;
}

bool Flight::apply(const Delivery& delivery) {
  const auto found = rows_.find(delivery.token);
  if (found == rows_.end() || found->second.answer != Answer::none) return false;
  FlightRow& row = found->second;
  --open_;
  row.answer = to_answer(delivery.status);
  row.error = delivery.error;
  row.refusal = delivery.refusal;
  if (is_trouble(row.answer)) is_sound_ = false;
  return row.answer == Answer::acked;
}

void Flight::remove(const std::vector<std::uint64_t>& ids) {
  for (const std::uint64_t id : ids) rows_.erase(id);
}

void Flight::give_up(const std::string& why) {
  for (auto& [id, row] : rows_) {
    if (row.answer != Answer::none) continue;
    row.answer = Answer::failed;
    row.error = why;
    is_sound_ = false;
  }
  open_ = 0;
}

void Flight::clear() {
  rows_.clear();
  open_ = 0;
  is_sound_ = true;
}

bool Flight::has(Answer answer) const noexcept {
  return std::any_of(rows_.begin(), rows_.end(), [&](const auto& row) { return row.second.answer == answer; });
}

std::vector<FlightRow*> Flight::rows() {
  std::vector<FlightRow*> found;
  found.reserve(rows_.size());
  for (auto& [id, row] : rows_) found.push_back(&row);
  std::sort(found.begin(), found.end(), [](const FlightRow* a, const FlightRow* b) { return a->id < b->id; });
  return found;
}

}  // namespace oncemark::outbox
