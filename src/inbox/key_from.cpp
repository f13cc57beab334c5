#include <oncemark/inbox/key_from.hpp>

#include <algorithm>
#include <string_view>

#include <oncemark/core/error.hpp>
#include <oncemark/message/codec.hpp>
#include <oncemark/message/names.hpp>

namespace oncemark::inbox {
namespace {

[[noreturn]] void missing(const Message& message, const std::string& what) {
  throw PermanentError("record " + message.read_at.str() + " has no business key: " + what);
}

std::string header_of(const Message& message, const std::string& name) {
  const auto value = message.headers.text(name);
  if (!value || value->empty()) missing(message, "the header " + name + " is missing or empty");
  return std::string(*value);
}

std::string json_of(const Message& message, const JsonPointer& pointer) {
  try {
    return json_key(message.payload, pointer);
  } catch (const PermanentError& error) {
    missing(message, error.what());
  }
}

bool is_structured_cloud_event(const Message& message) {
  const auto type = message.headers.text("content-type");
  return type && type->starts_with("application/cloudevents+json");
}

std::string cloud_event_of(const Message& message) {
  static const JsonPointer kSource("/source");
  static const JsonPointer kId("/id");
  const bool is_structured = is_structured_cloud_event(message);
  std::string key = is_structured ? json_of(message, kSource) : header_of(message, "ce_source");
  // The space that follows must be the first one.
  const auto cannot_be_in_a_uri = [](char c) { return static_cast<unsigned char>(c) <= ' '; };
  if (std::ranges::any_of(key, cannot_be_in_a_uri)) {
    missing(message, "the source of this CloudEvent is no URI reference: it holds a space or a control character");
  }
  key += ' ';
  key += is_structured ? json_of(message, kId) : header_of(message, "ce_id");
  return key;
}

std::string result_of(const KeyFrom::Function& function, const Message& message) {
  std::string key;
  try {
    key = function(message);
  } catch (const MisuseError&) {
    throw;
  } catch (...) {
    const ErrorSummary error = summarize_current_exception();
    missing(message, "the key_from function threw " + error.error_class + ": " + error.text);
  }
  if (key.empty()) missing(message, "the key_from function returned nothing");
  return key;
}

}  // namespace

KeyFrom KeyFrom::header(std::string name) {
  if (name.empty()) throw ConfigError("KeyFrom::header", "KeyFrom::header needs the name of a header");
  KeyFrom from(Kind::header);
  from.name_ = std::move(name);
  return from;
}

KeyFrom KeyFrom::json_pointer(std::string pointer) {
  KeyFrom from(Kind::json_pointer);
  from.pointer_.emplace(std::move(pointer));
  return from;
}

KeyFrom KeyFrom::function(Function function) {
  if (!function) throw ConfigError("KeyFrom::function", "KeyFrom::function needs a function");
  KeyFrom from(Kind::function);
  from.function_ = std::move(function);
  return from;
}

std::string KeyFrom::extract(const Message& message) const {
  std::string key;
  switch (kind_) {
    case Kind::message_id:
      if (!message.has_id) {
        throw MisuseError("record " + message.read_at.str() + " has no header " + std::string(names::kMessageId) +
                          ", and no key_from says what makes two messages the same work; set DedupOptions::key_from "
                          "(header, record_key, json_pointer, cloud_event or function), or let the producer write the "
                          "header");
      }
      key = message.id;
      break;
    case Kind::header:
      key = header_of(message, name_);
      break;
    case Kind::record_key:
      if (message.key.empty()) missing(message, "the record's key is null or empty");
      key = message.key.str();
      break;
    case Kind::json_pointer:
      key = json_of(message, *pointer_);
      break;
    case Kind::cloud_event:
      key = cloud_event_of(message);
      break;
    case Kind::function:
      key = result_of(function_, message);
      break;
  }
  if (key.size() > kMaxBusinessKey) {
    throw PermanentError("record " + message.read_at.str() + " has a business key of " + std::to_string(key.size()) +
                         " bytes; at most " + std::to_string(kMaxBusinessKey) +
                         " fit: choose a shorter one, or its hash, with key_from");
  }
  return key;
}

}  // namespace oncemark::inbox
