#include <oncemark/inbox/key_from.hpp>

#include <oncemark/core/error.hpp>
#include <oncemark/message/codec.hpp>
#include <oncemark/message/names.hpp>

namespace oncemark::inbox {
namespace {

[[noreturn]] void missing(const Message& message, const std::string& what) {
  throw PermanentError("record " + message.read_at.str() + " has no business key: " + what);
}

}  // namespace

std::string KeyFrom::extract(const Message& message) const {
  std::string key;
  switch (kind_) {
    case Kind::message_id:
      if (!message.has_id) {
        throw MisuseError("record " + message.read_at.str() + " has no header " + std::string(names::kMessageId) +
                          ", and no key_from says what makes two messages the same work; set DedupOptions::key_from "
                          "(header, record_key or function), or let the producer write the header");
      }
      key = message.id;
      break;
    case Kind::header: {
      const auto value = message.headers.text(name_);
      if (!value || value->empty()) missing(message, "the header " + name_ + " is missing or empty");
      key = *value;
      break;
    }
    case Kind::record_key:
      if (message.key.empty()) missing(message, "the record's key is null or empty");
      key = message.key.str();
      break;
    case Kind::function:
      key = function_(message);
      if (key.empty()) missing(message, "the key_from function returned nothing");
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
