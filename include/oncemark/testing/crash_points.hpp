#pragma once

#include <array>
#include <string>
#include <string_view>

#include <oncemark/core/faults.hpp>

namespace oncemark::testing {

/// Where a consumer may die while it handles a message, in the order in which it passes them: after the claim, after the
/// handler and before the COMMIT, after the COMMIT.
inline constexpr std::array<std::string_view, 3> kConsumerCrashPoints{"dedup.after_claim", "dedup.after_handler",
                                                                      "dedup.after_commit"};

/// For as long as it lives, the code that passes this point for the first time dies there: it throws, and what runs
/// above it unwinds as a killed process would vanish. What the transaction held is gone unless it was committed.
///
/// Shape:   `point` is a name of faults::names(). One at a time in a process.
/// Threads: any; the point is struck in whichever thread passes first.
/// Errors:  MisuseError for a name that no code passes.
class CrashAt {
 public:
  explicit CrashAt(std::string_view point) { faults::arm(std::string(point) + ":throw"); }
  ~CrashAt() { faults::disarm(); }
  CrashAt(const CrashAt&) = delete;
  CrashAt& operator=(const CrashAt&) = delete;
};

}  // namespace oncemark::testing
