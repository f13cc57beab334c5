#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include <oncemark/message/message.hpp>

namespace oncemark {

/// The longest message id and business key that fit the tables, in bytes.
inline constexpr std::size_t kMaxMessageId = 255;
inline constexpr std::size_t kMaxBusinessKey = 512;

/// Coordinates as an identity: "@orders/3/991/1764000000000" (topic, partition, offset, timestamp in ms). The
/// timestamp tells records of a recreated topic apart. '@' cannot begin one of our ids. Of a topic longer than 180
/// bytes it holds the first 160 and a hash, so that it always fits kMaxMessageId.
[[nodiscard]] std::string coordinates_identity(const Position& origin, Time timestamp);

/// Reads a record from a source topic: foreign bytes, of which only om-message-id and om-event-time are ours.
///
/// Shape:   no om-message-id: `has_id` is false and the id is made from the coordinates. business_key = id.
/// Errors:  PermanentError for an id that is empty or longer than kMaxMessageId, or an event time that cannot be
///          read; the caller then treats the record as undecodable (a letter keyed by its coordinates).
[[nodiscard]] Message decode_source_record(const Record& record);

/// Reads a record from the group's own retry topic: life, attempt and origin are believed.
///
/// Errors:  PermanentError naming the header that is missing or malformed.
[[nodiscard]] Message decode_retry_record(const Record& record);

/// The group that a record on a retry topic belongs to; empty when the header is missing.
[[nodiscard]] std::string_view origin_group(const Record& record) noexcept;

/// Headers as the handler's message had them at its origin: our failure headers removed.
[[nodiscard]] Headers without_failure_headers(const Headers& headers);

/// 64-bit xxh3 of payload bytes; null and empty differ. Stored with the mark to find key conflicts.
[[nodiscard]] std::uint64_t payload_hash(const Bytes& payload) noexcept;

/// What is kept with the mark: the message's own content_hash, or that of its payload.
[[nodiscard]] std::uint64_t content_hash(const Message& message) noexcept;

/// Reads a decimal number that must fill the whole text. Throws PermanentError naming `what`.
[[nodiscard]] std::int64_t parse_number(std::string_view text, std::string_view what);

}  // namespace oncemark
