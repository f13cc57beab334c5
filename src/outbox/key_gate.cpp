#include "outbox/key_gate.hpp"

#include <algorithm>
#include <utility>

namespace oncemark::outbox {

const RowKey* KeyGate::find(std::uint64_t id) const {
  const auto found = std::lower_bound(failing_.begin(), failing_.end(), id,
                                      [](const Failing& f, std::uint64_t i) { return f.row.id < i; });
  return found != failing_.end() && found->row.id == id ? &found->row : nullptr;
}

std::vector<std::uint64_t> KeyGate::unknown(const std::vector<FailingRow>& failing) const {
  std::vector<std::uint64_t> ids;
  for (const FailingRow& row : failing) {
    if (find(row.id) == nullptr) ids.push_back(row.id);
  }
  return ids;
}

void KeyGate::set_failing(std::vector<FailingRow> failing, const std::vector<RowKey>& learnt) {
  if (failing.empty() && failing_.empty()) return;
  std::unordered_map<std::uint64_t, RowKey> fresh;
  for (const RowKey& row : learnt) fresh.emplace(row.id, row);
  std::sort(failing.begin(), failing.end(), [](const FailingRow& a, const FailingRow& b) { return a.id < b.id; });

  std::vector<Failing> now;
  now.reserve(failing.size());
  for (const FailingRow& row : failing) {
    if (const RowKey* known = find(row.id)) {
      now.push_back({*known, row.is_due});
    } else if (const auto found = fresh.find(row.id); found != fresh.end()) {
      now.push_back({found->second, row.is_due});
    }
  }
  failing_ = std::move(now);
  close_keys();
}

std::vector<std::uint64_t> KeyGate::due_heads(const std::vector<int>& shards, std::size_t limit) const {
  std::vector<std::uint64_t> ids;
  for (const auto& [row, is_due] : failing_) {
    if (ids.size() == limit) break;
    const bool is_head = !row.key || closed_.at(*row.key) == row.id;
    if (!is_due || !is_head || std::find(shards.begin(), shards.end(), row.shard) == shards.end()) continue;
    if (std::none_of(aside_.begin(), aside_.end(), [&](const RowKey& other) { return other.id == row.id; })) {
      ids.push_back(row.id);
    }
  }
  return ids;
}

void KeyGate::set_aside(const std::vector<RowKey>& rows) {
  aside_.insert(aside_.end(), rows.begin(), rows.end());
  for (const RowKey& row : rows) waiting_.emplace(row.id, row.key);
  close_keys();
}

void KeyGate::clear_aside() {
  for (const RowKey& row : std::exchange(aside_, {})) waiting_.erase(row.id);
  close_keys();
}

bool KeyGate::lets_pass(const RowKey& row) {
  if (waiting_.contains(row.id)) return false;
  if (!row.key || !closed_.contains(*row.key)) return true;
  waiting_.emplace(row.id, row.key);
  return false;
}

void KeyGate::forget_waiting() {
  waiting_.clear();
  for (const RowKey& row : aside_) waiting_.emplace(row.id, row.key);
}

// After a change of heads. A key that has none any more is open, and the rows that waited for it are free.
void KeyGate::close_keys() {
  const auto before = std::exchange(closed_, {});
  for (const auto& [row, is_due] : failing_) {
    if (row.key) closed_.emplace(*row.key, row.id);
  }
  for (const RowKey& row : aside_) {
    if (!row.key) continue;
    const auto [head, is_first] = closed_.emplace(*row.key, row.id);
    if (!is_first) head->second = std::min(head->second, row.id);
  }
  const auto is_closed = [&](const auto& key) { return closed_.contains(key.first); };
  if (std::all_of(before.begin(), before.end(), is_closed)) return;
  std::erase_if(waiting_, [&](const auto& row) { return row.second && !closed_.contains(*row.second); });
}

}  // namespace oncemark::outbox
