#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include <CLI/CLI.hpp>

#include <oncemark/core/clock.hpp>
#include <oncemark/dead_letter/store.hpp>

namespace oncemark::tools {

/// The flags that select dead letters; all that are given must match.
struct SelectionFlags {
  std::optional<std::string> consumer = {};
  std::optional<std::string> topic = {};
  std::optional<std::string> fingerprint = {};
  std::optional<std::string> error_class = {};
  std::optional<std::string> message_id = {};
  std::optional<std::uint64_t> id = {};
  std::optional<std::string> since = {};
  std::optional<std::string> until = {};
  std::optional<std::uint64_t> limit = {};

  void add_to(CLI::App& verb);
  /// Whether something besides the consumer narrows the selection.
  [[nodiscard]] bool is_narrowed() const;
  [[nodiscard]] bool is_narrowed_besides_limit() const;
  /// `now` is what "2h" counts back from. Throws UsageError.
  [[nodiscard]] dead_letter::Selection selection(Time now) const;
};

/// Reads "50/s", "600/m", "3600/h" or "50" as letters a second. Throws UsageError.
[[nodiscard]] double parse_rate(const std::string& text);
/// 50/s, or "no limit".
[[nodiscard]] std::string rate_text(double rate);

}  // namespace oncemark::tools
