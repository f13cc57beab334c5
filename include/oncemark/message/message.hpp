#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include <oncemark/core/bytes.hpp>
#include <oncemark/core/clock.hpp>
#include <oncemark/message/headers.hpp>
#include <oncemark/message/position.hpp>

namespace oncemark {

/// Bytes at an offset, as a broker hands them over.
struct Record {
  Position position = {};
  Time timestamp{};  // as the broker reports it (milliseconds); epoch when it reports none
  Bytes key = {};
  Bytes payload = {};
  Headers headers = {};
};

/// What a handler receives: the business unit, wherever it came by.
///
/// Shape:   `topic`, `key`, `payload` and foreign headers are those of the record at its origin, byte for byte, also
///          after retries and replays. `attempt` counts deliveries in this life from 1; `life` starts at 1 and grows
///          with each replay from the dead letters.
/// Threads: a value; never changed by this library once handed out.
struct Message {
  std::string id = {};            // message id; the origin's coordinates when the record carried none
  std::string business_key = {};  // what makes two messages the same work; the id unless configured
  std::string topic = {};
  Bytes key = {};
  Bytes payload = {};
  Headers headers = {};
  Time event_time{};     // om-event-time, else the record's timestamp
  Position origin = {};  // where it was first read; stays the same over retries and replays
  Time origin_timestamp{};
  Position read_at = {};  // where this delivery was read: the source topic or the group's retry topic
  std::uint32_t attempt = 1;
  std::uint32_t life = 1;
  bool from_retry_topic = false;                   // om-life and om-attempt were believed
  bool has_id = true;                              // false: `id` was made from the coordinates
  std::optional<std::uint64_t> content_hash = {};  // tells it from others with its key · default: of the payload
  std::uint32_t suspect_tries = 0;  // above 0: noted as in hand, this being the so-manieth time in a row that nothing
                                    // came of it; whoever settles the message clears the note
};

}  // namespace oncemark
