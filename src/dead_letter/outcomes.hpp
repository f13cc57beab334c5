#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <oncemark/mysql/transaction.hpp>

namespace oncemark::dead_letter {

/// What has become of letters that a job replayed.
struct Outcomes {
  std::uint64_t letters = 0;
  std::uint64_t done = 0;
  std::uint64_t failed = 0;  // at least once in their new life

  [[nodiscard]] std::uint64_t open() const noexcept { return letters - done - failed; }
};
/// Of the last `most` that it replayed.
[[nodiscard]] Outcomes outcomes_of(mysql::Transaction& tx, std::uint64_t job_id, std::size_t most);

/// Those of the letters that are replayed and neither done nor dead again.
[[nodiscard]] std::vector<std::uint64_t> still_replaying(mysql::Transaction& tx,
                                                         std::span<const std::uint64_t> letters);
/// The same of all that the job replayed; at most `most`.
[[nodiscard]] std::vector<std::uint64_t> replaying_of(mysql::Transaction& tx, std::uint64_t job_id, std::size_t most);

}  // namespace oncemark::dead_letter
