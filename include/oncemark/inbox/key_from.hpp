#pragma once

#include <functional>
#include <string>
#include <utility>

#include <oncemark/message/message.hpp>

namespace oncemark::inbox {

/// What a message without a usable key becomes.
enum class MissingKey {
  dead_letter,  ///< a letter, keyed by its coordinates
  stop,         ///< the runner stops and nothing is settled
};

/// What makes two messages the same work.
///
/// Shape:   bytes, compared byte by byte, 1 to 512 of them. message_id() needs the header om-message-id (or a record
///          that this library made); the others take a record as it comes.
/// Threads: extract() from any thread; so must a user's function be.
/// Errors:  extract() throws MisuseError when message_id() finds none (a whole topic would lack it), PermanentError
///          when another source finds none or the key is too long.
/// Source:  design, decision 4.
class KeyFrom {
 public:
  using Function = std::function<std::string(const Message&)>;

  [[nodiscard]] static KeyFrom message_id() { return KeyFrom(Kind::message_id, {}, {}); }
  [[nodiscard]] static KeyFrom header(std::string name) { return KeyFrom(Kind::header, std::move(name), {}); }
  [[nodiscard]] static KeyFrom record_key() { return KeyFrom(Kind::record_key, {}, {}); }
  /// An empty result means: no key.
  [[nodiscard]] static KeyFrom function(Function function) { return KeyFrom(Kind::function, {}, std::move(function)); }

  [[nodiscard]] std::string extract(const Message& message) const;

 private:
  enum class Kind { message_id, header, record_key, function };
  KeyFrom(Kind kind, std::string name, Function function)
      : kind_(kind), name_(std::move(name)), function_(std::move(function)) {}

  Kind kind_;
  std::string name_;
  Function function_;
};

}  // namespace oncemark::inbox
