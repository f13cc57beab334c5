#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include <oncemark/core/bytes.hpp>
#include <oncemark/core/clock.hpp>
#include <oncemark/message/headers.hpp>

namespace oncemark::transactional {

/// A message that the broker holds and no consumer sees, until the outcome of its transaction is known.
struct HalfMessage {
  std::string id = {};  // message id, and that of the transaction
  std::string topic = {};
  Bytes key = {};
  Bytes payload = {};
  Headers headers = {};
  Time event_time{};
  Time since{};              // when it was handed over, by the database's clock
  std::uint32_t checks = 0;  // how often nobody could tell the outcome
};

/// Where the half messages of a sender lie: half.{sender}. Nobody but its check-back may read it.
///
/// Errors:  MisuseError unless `sender` is 1 to 100 characters of [A-Za-z0-9._-].
[[nodiscard]] std::string half_topic(const std::string& sender);

/// What a check finds out about a transaction outside of MySQL.
enum class Outcome {
  committed,    ///< send the message
  rolled_back,  ///< drop it. Must be final: a transaction that commits after this answer has no message
  running,      ///< ask again later, as often as it takes
  unknown,      ///< ask again later; counts as a check, and after the last one a person decides
};

/// Asks the store of the business data. Called for messages of Sender::prepare() whose outcome was never reported.
///
/// Threads: the thread of CheckBack::run().
/// Errors:  an error of kind `unavailable` counts nothing; any other exception counts as `unknown`.
using Check = std::function<Outcome(const HalfMessage& half)>;

}  // namespace oncemark::transactional
