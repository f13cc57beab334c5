#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <oncemark/core/clock.hpp>
#include <oncemark/message/message.hpp>

namespace oncemark::dead_letter {

/// Who wrote a dead letter, by the names of its headers. A record that has several families is taken for the first one
/// in this order.
enum class Family {
  oncemark,
  kafka,    ///< share groups, __dlq.errors.* (KIP-1191)
  spring,   ///< Spring for Apache Kafka, kafka_dlt-* and, of @RetryableTopic, kafka_original-* and retry_topic-*
  connect,  ///< Kafka Connect, __connect.errors.*
  streams,  ///< Kafka Streams, __streams.errors.* (KIP-1034)
  smallrye,
  karafka,
  none,  ///< nobody we know
};

[[nodiscard]] std::string_view to_string(Family family) noexcept;

/// How a value lies in a header.
enum class Encoding {
  text,         ///< any bytes, UTF-8 by intent
  topic,        ///< a topic's name
  decimal,      ///< a number in digits
  int32,        ///< four bytes, big-endian
  int64,        ///< eight bytes, big-endian
  millis,       ///< milliseconds since 1970 in eight bytes, big-endian
  big_integer,  ///< milliseconds in as many bytes as they take, big-endian (Java's BigInteger)
  rfc3339,
};

enum class Meaning {
  topic,
  partition,
  offset,
  timestamp,
  group,
  attempts,
  life,
  error_class,
  error_text,
  first_failed
};

/// What one header of a family says.
struct HeaderMeaning {
  Family family;
  std::string_view name;
  Encoding encoding;
  Meaning meaning;
};

/// All we know, by family; of several rows of one meaning the first one that a record has counts.
[[nodiscard]] std::span<const HeaderMeaning> header_meanings() noexcept;

/// What the headers of a dead letter say about where it comes from and why it is there.
struct Provenance {
  Family family = Family::none;
  std::optional<std::string> topic = {};  // the origin; a legal topic name
  std::optional<std::int32_t> partition = {};
  std::optional<std::int64_t> offset = {};
  std::optional<Time> timestamp = {};
  std::optional<std::string> group = {};
  std::optional<std::uint64_t> attempts = {};
  std::optional<std::uint64_t> replays = {};  // by oncemark, so far
  std::optional<std::string> error_class = {};
  std::optional<std::string> error_text = {};
  std::optional<Time> first_failed_at = {};
  bool is_pointer = false;                   // the record itself lies at the origin, and not here
  std::vector<std::string> unreadable = {};  // headers of the family whose values are not what they should be
};

/// Reads the headers of a record on a dead-letter topic.
///
/// Shape:   of several headers of one name the last counts. What is missing, or not of the encoding that the table says
///          (a wrong width, no number, negative, out of range), is unknown; the latter is named in `unreadable`.
/// Threads: pure.
/// Errors:  none, whatever the bytes are.
/// Source:  the named projects' own sources; docs/wire.md.
[[nodiscard]] Provenance provenance_of(const Record& record);

/// The headers that the record had before `family` wrote its own: for sending it to its origin again.
[[nodiscard]] Headers headers_before(const Headers& headers, Family family);

}  // namespace oncemark::dead_letter
