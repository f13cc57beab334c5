#pragma once

#include <functional>
#include <optional>
#include <string>
#include <utility>

#include <oncemark/message/json_pointer.hpp>
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

  [[nodiscard]] static KeyFrom message_id() { return KeyFrom(Kind::message_id); }
  /// The last header of that name.
  [[nodiscard]] static KeyFrom header(std::string name);
  [[nodiscard]] static KeyFrom record_key() { return KeyFrom(Kind::record_key); }
  /// A string or a whole number in a JSON payload: json_pointer("/order/id"). The number 1 and the string "1" are the
  /// same key; see json_key() for the rest. Throws ConfigError for a text that is no JSON pointer.
  [[nodiscard]] static KeyFrom json_pointer(std::string pointer);
  /// Source and id of a CloudEvent, which only together name one event: "<source> <id>". A source has no space in it,
  /// so no two pairs look alike. From the headers ce_source and ce_id, or, with the content type
  /// application/cloudevents+json, from the payload.
  [[nodiscard]] static KeyFrom cloud_event() { return KeyFrom(Kind::cloud_event); }
  /// An empty result means: no key. What the function throws becomes PermanentError, except MisuseError.
  [[nodiscard]] static KeyFrom function(Function function);

  [[nodiscard]] std::string extract(const Message& message) const;

  /// Whether such keys name one message wherever it was read: then messages of several topics may share a consumer.
  [[nodiscard]] bool is_global() const noexcept { return kind_ == Kind::message_id || kind_ == Kind::cloud_event; }

 private:
  enum class Kind { message_id, header, record_key, json_pointer, cloud_event, function };
  explicit KeyFrom(Kind kind) : kind_(kind) {}

  Kind kind_;
  std::string name_ = {};
  std::optional<JsonPointer> pointer_ = {};
  Function function_ = {};
};

}  // namespace oncemark::inbox
