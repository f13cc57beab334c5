#pragma once

#include <string>

#include <oncemark/message/message.hpp>
#include <oncemark/message/ports.hpp>
#include <oncemark/transactional/half.hpp>

namespace oncemark::transactional {

/// Who knows the outcome when there is no row in `local_transaction`.
enum class Knows {
  row,    ///< the row's absence: the transaction writes it first
  check,  ///< the user's Check
};

/// A half message with what the check-back needs to know.
struct Half {
  HalfMessage message = {};
  Knows knows = Knows::row;
  Time due{};               // of the next check, by the database's clock
  std::string reason = {};  // what the last check met; empty at first
};

/// The record on the half topic: keyed by the message id, the payload as it is, everything else in headers.
[[nodiscard]] OutgoingRecord to_half_record(const Half& half, const std::string& sender);
/// Errors:  PermanentError naming the header that is missing or malformed.
[[nodiscard]] Half read_half(const Record& record);
/// The record that consumers get.
[[nodiscard]] OutgoingRecord to_message_record(const HalfMessage& message);

}  // namespace oncemark::transactional
