#pragma once

#include <chrono>
#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace oncemark::config {

/// Reads "200ms", "5s", "10m", "2h" or "7d": a whole number and its unit.
///
/// Errors:  ConfigError (with `what` as its key) for anything else, a number without a unit included.
[[nodiscard]] std::chrono::milliseconds parse_duration(std::string_view text, const std::string& what);

/// Reads "512B", "4KiB", "1MiB" or "2GiB" (powers of 1,024), or a plain number of bytes.
///
/// Errors:  ConfigError (with `what` as its key) for anything else.
[[nodiscard]] std::size_t parse_size(std::string_view text, const std::string& what);

/// The candidate that `word` was probably meant to be: at most a third of its letters differ, two letters exchanged
/// counting once. Nothing when none is near.
[[nodiscard]] std::optional<std::string> nearest(std::string_view word, std::span<const std::string> candidates);

}  // namespace oncemark::config
