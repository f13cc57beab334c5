#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace oncemark::inbox {

/// What is done with a message that the hint calls done.
enum class Trust {
  verify,  ///< it is claimed like any other: a rehearsal that counts how often the hint is right, and gains nothing
  skip,    ///< it is settled as a duplicate without asking MySQL
};

struct HintOptions {
  Trust trust = Trust::verify;  // skip saves the claim of each duplicate, and believes the hint (docs/redis.md)
  double ask_above = 0.05;      // share of duplicates among recent messages above which the hint is asked; it is left
      // alone again below half of that · a look-up costs fresh messages a round trip · 0 to 1

  /// Throws ConfigError naming the field.
  void validate() const;
};

/// A message as a hint knows it. The hash is that of its mark, so that a key conflict is no hit.
struct SeenMark {
  std::string_view business_key = {};
  std::uint64_t payload_hash = 0;
};

/// May know that messages are done. A seam; never the truth: it can forget anything at any time, and whoever uses it
/// must be right without it.
///
/// Shape:   what remember() was told comes back from seen() as long as the epoch is the same. The epoch names the
///          history of the database that the marks were committed in; a restore begins a new one, and with it all that
///          was remembered is void.
/// Threads: all members from many lanes at once. seen() may wait for a few milliseconds, remember() never waits.
/// Errors:  none: whatever goes wrong reads as "not seen".
/// Crash:   what was to be remembered may be lost. Nothing may be remembered before its COMMIT has succeeded.
/// Source:  design, decision 5.
class SeenHint {
 public:
  virtual ~SeenHint() = default;
  /// To be read before the claim and handed to remember() after its commit. 0: unknown; nothing is known or remembered.
  [[nodiscard]] virtual std::uint64_t epoch() const noexcept = 0;
  /// For each mark whether it is surely done for `consumer`. As many as `marks`, or none at all (nothing is known).
  [[nodiscard]] virtual std::vector<bool> seen(const std::string& consumer,
                                               std::span<const SeenMark> marks) noexcept = 0;
  /// Whether seen() answers at once, from memory: then it is asked as soon as a message is read.
  [[nodiscard]] virtual bool is_in_memory() const noexcept { return false; }
  /// These marks are `done`, by transactions that were begun in `epoch` and have been committed.
  virtual void remember(const std::string& consumer, std::uint64_t epoch, std::span<const SeenMark> marks) noexcept = 0;
};

}  // namespace oncemark::inbox
