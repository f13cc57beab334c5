#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include <oncemark/core/error.hpp>
#include <oncemark/message/message.hpp>

namespace oncemark::dead_letter {

/// Everything that our headers say about a failure.
struct Envelope {
  std::string group = {};
  std::uint32_t life = 1;
  std::uint32_t attempt = 0;  // failed deliveries in this life
  Time first_failed_at{};
  std::string error_class = {};
  std::string error_text = {};
  std::string stage = {};
};

/// Headers for the retry topic: those of the origin, then ours; nothing of an earlier failure is left.
///
/// Shape:   om-life, om-attempt, om-due, om-origin-*, om-error-*, om-first-failed-at, and om-business-key when it is
///          not the message id. The error text is cut to 512 bytes.
[[nodiscard]] Headers retry_headers(const Message& message, const Envelope& envelope, Time due);

/// Whose headers a dead letter has beside ours.
enum class Families {
  kafka,             ///< __dlq.errors.* (KIP-1191), text
  kafka_and_spring,  ///< and kafka_dlt-*, with Spring's binary numbers: readers made for Spring's letters understand it
};
/// Headers for the dead-letter topic: as above without om-due, plus om-error-fingerprint and those of `families`, which
/// replace any of the same family that the record came with.
[[nodiscard]] Headers dead_letter_headers(const Message& message, const Envelope& envelope,
                                          Families families = Families::kafka);

/// 16 hex digits that group letters which failed alike: xxh3 of the error class and the text with numbers, ids and
/// hex strings masked.
[[nodiscard]] std::string fingerprint(std::string_view error_class, std::string_view error_text);
/// The text with runs of digits, UUIDs and hex numbers replaced by '#', quoted parts by '"…"'.
[[nodiscard]] std::string mask(std::string_view error_text);

/// The purpose of a failure row in the outbox: unique per message, life and attempt.
[[nodiscard]] std::string retry_purpose(std::string_view consumer, const Message& message, std::uint32_t life,
                                        std::uint32_t attempt);
[[nodiscard]] std::string dead_letter_purpose(std::string_view consumer, const Message& message, std::uint32_t life);

}  // namespace oncemark::dead_letter
