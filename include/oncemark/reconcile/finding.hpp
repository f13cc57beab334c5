#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include <oncemark/core/clock.hpp>

namespace oncemark::reconcile {

/// What is not as it should be with a message.
enum class Kind {
  unsent,      ///< in the outbox past its time, or given up by the relay
  unsettled,   ///< sent, and past the SLA neither done nor given up by the consumer
  unexpected,  ///< the consumer has it, but no row of the outbox sent it
  dead,        ///< a dead letter
  replayed,    ///< a dead letter that was replayed, and past the SLA has not come to an end again
  conflict,    ///< the same business key with other contents: one of the two took effect, the other was dropped
};
inline constexpr int kKinds = 6;

[[nodiscard]] std::string_view to_string(Kind kind) noexcept;
/// Throws MisuseError for a name that is no kind.
[[nodiscard]] Kind parse_kind(std::string_view name);

/// One difference between what was sent and what was done.
struct Finding {
  Kind kind = Kind::unsettled;
  std::string scope = {};  // the consumer; of an unsent row the relay
  std::string topic = {};  // of the message; of an unsent row where it goes
  std::string business_key = {};
  std::string message_id = {};
  Time event_time{};
  Time since{};               // when the next thing should have happened, or when it died
  std::string standing = {};  // where it stands: "no row", "retrying", "parked", "dead", "pending", …
  std::uint64_t row = 0;      // of the outbox, 0: none
  std::uint64_t letter = 0;   // 0: none
  std::uint32_t life = 0;     // of the letter, 0: none
};

}  // namespace oncemark::reconcile
