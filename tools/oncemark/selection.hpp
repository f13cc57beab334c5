#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <CLI/CLI.hpp>

#include <oncemark/core/clock.hpp>
#include <oncemark/dead_letter/replay.hpp>

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
  std::optional<std::string> group = {};
  std::optional<std::string> record = {};
  std::optional<std::string> key = {};
  std::optional<std::string> error_text = {};
  std::optional<std::string> attempts = {};
  std::optional<std::string> replays = {};
  std::vector<std::string> headers = {};
  std::optional<std::string> jq = {};
  std::optional<std::uint64_t> limit = {};

  void add_to(CLI::App& verb);
  /// Whether something besides the consumer narrows the selection.
  [[nodiscard]] bool is_narrowed() const;
  [[nodiscard]] bool is_narrowed_besides_limit() const;
  /// `now` is what "2h" counts back from. Throws UsageError.
  [[nodiscard]] dead_letter::Selection selection(Time now) const;
  /// What the selection cannot say: header globs, and jq. Throws UsageError.
  [[nodiscard]] dead_letter::LetterFilter filter() const;
  /// The filter in words, for the job; empty without one.
  [[nodiscard]] std::string described() const;
};

/// The flags that say how fast a replay goes, and when it stops by itself.
struct PaceFlags {
  std::optional<std::string> rate = {};
  std::uint64_t burst = 0;
  std::vector<std::string> ramp = {};
  std::string ramp_every = "1m";
  std::uint64_t canary = 0;
  std::string canary_wait = "2m";
  std::optional<std::string> stop_if_failed_over = {};
  std::uint64_t in_flight = 0;
  std::string order = "death";
  std::optional<std::uint32_t> max_replays = {};

  void add_to(CLI::App& verb);
  /// Throws UsageError.
  [[nodiscard]] dead_letter::Pace pace() const;
  [[nodiscard]] dead_letter::Turn turn() const;
  /// Whether anything besides the rate is set.
  [[nodiscard]] bool is_set_besides_rate() const;
};

/// Whether all of `text` fits the glob: * any bytes, ? one byte.
[[nodiscard]] bool matches_glob(std::string_view glob, std::string_view text);

/// Reads "50/s", "600/m", "3600/h" or "50" as letters a second. Throws UsageError.
[[nodiscard]] double parse_rate(const std::string& text);
/// 50/s, or "no limit".
[[nodiscard]] std::string rate_text(double rate);

}  // namespace oncemark::tools
