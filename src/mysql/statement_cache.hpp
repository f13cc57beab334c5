#pragma once

#include <algorithm>
#include <cstdint>
#include <list>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

#include <oncemark/mysql/row.hpp>

namespace oncemark::mysql {

/// How a parameter of a prepared statement has been bound so far.
enum class Signedness : std::uint8_t { none, is_signed, is_unsigned };

[[nodiscard]] inline Signedness signedness_of(const Param& param) noexcept {
  if (std::holds_alternative<std::int64_t>(param.value())) return Signedness::is_signed;
  if (std::holds_alternative<std::uint64_t>(param.value())) return Signedness::is_unsigned;
  return Signedness::none;
}

/// The prepared statements of one connection, the least recently used dropped first.
///
/// Shape:   by SQL text, and by the signedness of integer parameters: the connector keeps a parameter's "unsigned"
///          flag for ever, so a statement that bound 1u may never bind -5. NULL and bytes go with either.
/// Threads: one at a time.
/// Errors:  none of its own.
template <typename Statement>
class StatementCache final {
 public:
  explicit StatementCache(std::size_t capacity) : capacity_(capacity) {}

  /// The statement that may take these parameters, or null. Valid until the next put() or erase().
  [[nodiscard]] Statement* find(std::string_view sql, std::span<const Param> params) {
    const auto [begin, end] = by_sql_.equal_range(sql);
    for (auto found = begin; found != end; ++found) {
      Entry& entry = *found->second;
      if (!accepts(entry, params)) continue;
      adopt(entry, params);
      entries_.splice(entries_.begin(), entries_, found->second);
      return entry.statement.get();
    }
    return nullptr;
  }

  Statement* put(std::string_view sql, std::span<const Param> params, std::unique_ptr<Statement> statement) {
    if (entries_.size() >= capacity_) erase(entries_.back().statement.get());
    entries_.push_front(Entry{std::string(sql), std::vector(params.size(), Signedness::none), std::move(statement)});
    adopt(entries_.front(), params);
    by_sql_.emplace(entries_.front().sql, entries_.begin());
    return entries_.front().statement.get();
  }

  void erase(const Statement* statement) noexcept {
    const auto found = std::find_if(entries_.begin(), entries_.end(),
                                    [&](const Entry& entry) { return entry.statement.get() == statement; });
    if (found == entries_.end()) return;
    const auto [begin, end] = by_sql_.equal_range(found->sql);
    by_sql_.erase(std::find_if(begin, end, [&](const auto& indexed) { return indexed.second == found; }));
    entries_.erase(found);
  }

  [[nodiscard]] std::size_t size() const noexcept { return entries_.size(); }

 private:
  struct Entry {
    std::string sql;
    std::vector<Signedness> bound;
    std::unique_ptr<Statement> statement;
  };

  static bool accepts(const Entry& entry, std::span<const Param> params) noexcept {
    return std::equal(entry.bound.begin(), entry.bound.end(), params.begin(), params.end(),
                      [](Signedness bound, const Param& param) {
                        const Signedness wanted = signedness_of(param);
                        return bound == Signedness::none || wanted == Signedness::none || bound == wanted;
                      });
  }

  static void adopt(Entry& entry, std::span<const Param> params) noexcept {
    for (std::size_t i = 0; i < params.size(); ++i) {
      if (entry.bound[i] == Signedness::none) entry.bound[i] = signedness_of(params[i]);
    }
  }

  std::size_t capacity_;
  std::list<Entry> entries_;                                                               // most recently used first
  std::unordered_multimap<std::string_view, typename std::list<Entry>::iterator> by_sql_;  // keys lie in entries_
};

}  // namespace oncemark::mysql
