#include "outbox/window.hpp"

#include <algorithm>

namespace oncemark::outbox {
namespace {

constexpr std::size_t kAskedAtOnce = 512;

}  // namespace

std::vector<std::uint64_t> Window::next(const std::vector<int>& shards) {
  std::vector<std::uint64_t> ids = look(shards, {});
  if (!ids.empty() || gate_.aside().empty()) return ids;
  gate_.clear_aside();
  return look(shards, {});
}

std::vector<RowKey> Window::take_aside() {
  std::vector<RowKey> rows = gate_.aside();
  gate_.clear_aside();
  return rows;
}

// Rows that wait for their key, or are on their way, can fill a page; the next page is then a larger one from the start, and not a
// continuation: of two statements the second one could show a row whose elder the first one was too early for.
std::vector<std::uint64_t> Window::look(const std::vector<int>& shards, const Flight& flight) {
  bool may_promote = true;
  for (std::size_t limit = batch_ + gate_.waiting() + flight.size();;) {
    Peek peek = rows_.peek(shards, limit, gate_.failing());
    const bool is_all = peek.pending.size() < limit;
    if (!peek.due.empty() && may_promote) {
      rows_.promote(peek.due);
      may_promote = false;
      continue;
    }
    std::erase_if(peek.pending, [&](std::uint64_t id) { return flight.contains(id); });
    gate_.set_failing(peek.failing, rows_.keys(gate_.unknown(peek.failing)));
    std::vector<std::uint64_t> ids = gate_.due_heads(shards, std::max<std::size_t>(batch_ / 2, 1));
    std::erase_if(ids, [&](std::uint64_t id) { return flight.contains(id); });
    const std::size_t room = std::max<std::size_t>(batch_ - std::min(batch_, ids.size()), 1);
    const std::vector<std::uint64_t> fresh = passing(peek.pending, room);
    if (fresh.size() == room || is_all) {
      ids.insert(ids.end(), fresh.begin(), fresh.end());
      std::sort(ids.begin(), ids.end());
      return ids;
    }
    limit *= 2;
  }
}

Window::Glance Window::glance(const std::vector<int>& shards) {
  const Peek peek = rows_.peek(shards, 1 + gate_.waiting(), gate_.failing());
  gate_.set_failing(peek.failing, rows_.keys(gate_.unknown(peek.failing)));
  Glance glance;
  for (const std::uint64_t id : peek.pending) {
    if (glance.first_pending == 0 && !gate_.is_waiting(id)) glance.first_pending = id;
  }
  glance.is_any_due = !peek.due.empty() || !gate_.due_heads(shards, 1).empty();
  return glance;
}

std::vector<std::uint64_t> Window::passing(const std::vector<std::uint64_t>& pending, std::size_t room) {
  std::vector<std::uint64_t> passed;
  for (auto next = pending.begin(); next != pending.end() && passed.size() < room;) {
    if (gate_.is_open()) return {next, next + static_cast<std::ptrdiff_t>(std::min(room, pending.size()))};
    std::vector<std::uint64_t> asked;
    for (; next != pending.end() && asked.size() < kAskedAtOnce; ++next) {
      if (!gate_.is_waiting(*next)) asked.push_back(*next);
    }
    for (const RowKey& row : rows_.keys(asked)) {
      if (gate_.lets_pass(row) && passed.size() < room) passed.push_back(row.id);
    }
  }
  return passed;
}

}  // namespace oncemark::outbox
