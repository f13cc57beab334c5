#pragma once

#include <cstdint>
#include <string_view>

namespace oncemark::ledger {

/// Where a message stands for one consumer. No row means: never seen here.
///
///   (none) ──▶ done                         dead ──replay──▶ retrying (life + 1)
///   (none) ──▶ retrying ──▶ retrying … ──▶ done | dead
///   (none) ──▶ parked ──▶ parked … ──▶ done | dead ──replay in its place──▶ parked (life + 1)      (ordered retry)
///   (none) ──▶ dead                         any but done ──a person──▶ discarded
enum class State { done, retrying, parked, dead, discarded };

[[nodiscard]] std::string_view to_string(State state) noexcept;
/// Throws MisuseError for a name that is no state.
[[nodiscard]] State parse_state(std::string_view name);

/// What the state row says, as far as transitions ask.
struct Standing {
  State state = State::done;
  std::uint32_t life = 1;
  std::uint32_t attempt = 0;       // failed deliveries in this life
  std::uint64_t payload_hash = 0;  // of the record that made the row
};

}  // namespace oncemark::ledger
