#include <oncemark/dead_letter/envelope.hpp>

#include <cctype>
#include <cstdio>

#include <oncemark/core/id.hpp>
#include <oncemark/message/codec.hpp>
#include <oncemark/message/names.hpp>

namespace oncemark::dead_letter {
namespace {

constexpr std::size_t kErrorText = 512;  // bytes on the wire; the tables keep more

bool is_hex(char c) { return std::isxdigit(static_cast<unsigned char>(c)) != 0; }
bool is_digit(char c) { return std::isdigit(static_cast<unsigned char>(c)) != 0; }
bool is_word(char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_'; }

std::string hex16(std::uint64_t value) {
  char text[17];
  std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(value));
  return text;
}

void set_failure_headers(Headers& headers, const Message& message, const Envelope& envelope) {
  headers.set(names::kLife, std::to_string(envelope.life));
  headers.set(names::kAttempt, std::to_string(envelope.attempt));
  if (message.business_key != message.id) headers.set(names::kBusinessKey, message.business_key);
  headers.set(names::kOriginTopic, message.origin.topic);
  headers.set(names::kOriginPartition, std::to_string(message.origin.partition));
  headers.set(names::kOriginOffset, std::to_string(message.origin.offset));
  headers.set(names::kOriginTimestamp, format_rfc3339(message.origin_timestamp));
  headers.set(names::kOriginGroup, envelope.group);
  headers.set(names::kErrorClass, std::string(truncate_utf8(envelope.error_class, kErrorText)));
  headers.set(names::kErrorMessage, std::string(truncate_utf8(envelope.error_text, kErrorText)));
  headers.set(names::kErrorStage, envelope.stage);
  headers.set(names::kFirstFailedAt, format_rfc3339(envelope.first_failed_at));
}

/// Message id and business key in a purpose: nothing when they are the same; else a hash, so that two keys that
/// share a message id have rows of their own.
std::string key_suffix(const Message& message) {
  if (message.business_key == message.id) return {};
  return ":" + hex16(payload_hash(Bytes(message.business_key)));
}

}  // namespace

Headers retry_headers(const Message& message, const Envelope& envelope, Time due) {
  Headers headers = without_failure_headers(message.headers);
  set_failure_headers(headers, message, envelope);
  headers.set(names::kDue, format_rfc3339(due));
  return headers;
}

Headers dead_letter_headers(const Message& message, const Envelope& envelope) {
  Headers headers = without_failure_headers(message.headers);
  set_failure_headers(headers, message, envelope);
  headers.set(names::kKafkaDlqTopic, message.origin.topic);
  headers.set(names::kKafkaDlqPartition, std::to_string(message.origin.partition));
  headers.set(names::kKafkaDlqOffset, std::to_string(message.origin.offset));
  headers.set(names::kKafkaDlqGroup, envelope.group);
  headers.set(names::kKafkaDlqDeliveryCount, std::to_string(envelope.attempt));
  headers.set(names::kKafkaDlqMessage, std::string(truncate_utf8(envelope.error_text, kErrorText)));
  return headers;
}

std::string mask(std::string_view text) {
  std::string out;
  std::size_t i = 0;
  while (i < text.size()) {
    const char c = text[i];
    if (c == '"' || c == '\'' || c == '`') {
      const std::size_t end = text.find(c, i + 1);
      if (end != std::string_view::npos) {
        out += c;
        out += "…";
        out += c;
        i = end + 1;
        continue;
      }
    }
    if (is_word(c)) {
      // One word, with the dashes of a UUID or a date inside it.
      std::size_t end = i;
      bool has_digit = false;
      bool all_hex = true;
      while (end < text.size() &&
             (is_word(text[end]) || (text[end] == '-' && end + 1 < text.size() && is_hex(text[end + 1])))) {
        has_digit = has_digit || is_digit(text[end]);
        all_hex = all_hex && (is_hex(text[end]) || text[end] == '-');
        ++end;
      }
      const std::string_view word = text.substr(i, end - i);
      const bool is_prefixed_hex = word.size() > 2 && word[0] == '0' && (word[1] == 'x' || word[1] == 'X');
      if (is_prefixed_hex || (has_digit && all_hex)) {
        out += '#';
      } else {
        bool in_digits = false;
        for (const char w : word) {
          if (!is_digit(w)) out += w;
          if (is_digit(w) && !in_digits) out += '#';
          in_digits = is_digit(w);
        }
      }
      i = end;
      continue;
    }
    out += c;
    ++i;
  }
  return out;
}

std::string fingerprint(std::string_view error_class, std::string_view error_text) {
  std::string text(error_class);
  text += '\0';
  text += mask(error_text);
  return hex16(payload_hash(Bytes(std::move(text))));
}

std::string retry_purpose(std::string_view consumer, const Message& message, std::uint32_t life,
                          std::uint32_t attempt) {
  return "retry:" + std::string(consumer) + ":" + std::to_string(life) + ":" + std::to_string(attempt) +
         key_suffix(message);
}

std::string dead_letter_purpose(std::string_view consumer, const Message& message, std::uint32_t life) {
  return "dlq:" + std::string(consumer) + ":" + std::to_string(life) + key_suffix(message);
}

}  // namespace oncemark::dead_letter
