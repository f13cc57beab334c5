#include <oncemark/config/values.hpp>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>
#include <limits>
#include <vector>

#include <oncemark/core/error.hpp>
#include <oncemark/observe/log.hpp>

namespace oncemark::config {
namespace {

struct Unit {
  std::string_view name;
  std::int64_t factor;
};

constexpr std::array<Unit, 5> kDurations{{{"ms", 1}, {"s", 1'000}, {"m", 60'000}, {"h", 3'600'000}, {"d", 86'400'000}}};
constexpr std::array<Unit, 5> kSizes{{{"", 1}, {"B", 1}, {"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}}};

std::optional<std::int64_t> parse_with_unit(std::string_view text, std::span<const Unit> units) {
  std::int64_t number = 0;
  const char* const end = text.data() + text.size();
  const auto [unit_begins, error] = std::from_chars(text.data(), end, number);
  if (error != std::errc{} || number < 0) return std::nullopt;
  const std::string_view name(unit_begins, static_cast<std::size_t>(end - unit_begins));
  const auto unit = std::ranges::find(units, name, &Unit::name);
  if (unit == units.end() || number > std::numeric_limits<std::int64_t>::max() / unit->factor) return std::nullopt;
  return number * unit->factor;
}

/// Edits that turn one word into the other; an exchange of two neighbours is one edit.
std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::vector<std::size_t>> edits(a.size() + 1, std::vector<std::size_t>(b.size() + 1));
  for (std::size_t i = 0; i <= a.size(); ++i) {
    for (std::size_t j = 0; j <= b.size(); ++j) {
      if (i == 0 || j == 0) {
        edits[i][j] = i + j;
        continue;
      }
      const std::size_t change = edits[i - 1][j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      edits[i][j] = std::min({edits[i - 1][j] + 1, edits[i][j - 1] + 1, change});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        edits[i][j] = std::min(edits[i][j], edits[i - 2][j - 2] + 1);
      }
    }
  }
  return edits[a.size()][b.size()];
}

}  // namespace

std::chrono::milliseconds parse_duration(std::string_view text, const std::string& what) {
  if (const auto milliseconds = parse_with_unit(text, kDurations)) return std::chrono::milliseconds(*milliseconds);
  throw ConfigError(
      what, what + " is \"" + printable(text, 40) + "\"; expected a number and its unit: 200ms, 5s, 10m, 2h or 7d");
}

std::size_t parse_size(std::string_view text, const std::string& what) {
  if (const auto bytes = parse_with_unit(text, kSizes)) return static_cast<std::size_t>(*bytes);
  throw ConfigError(what, what + " is \"" + printable(text, 40) + "\"; expected a size: 512B, 4KiB, 1MiB or 2GiB");
}

std::optional<std::string> nearest(std::string_view word, std::span<const std::string> candidates) {
  std::optional<std::string> best;
  std::size_t least = std::max<std::size_t>(1, word.size() / 3) + 1;
  if (word.size() > 100) return std::nullopt;
  for (const std::string& candidate : candidates) {
    const std::size_t edits = distance(word, candidate);
    if (edits < least) {
      least = edits;
      best = candidate;
    }
  }
  return best;
}

}  // namespace oncemark::config
