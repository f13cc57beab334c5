#include <oncemark/dead_letter/envelope.hpp>

#include <algorithm>
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

/// Behind the quoted part that begins at `begin`; `begin` when none does. An apostrophe inside a word opens nothing.
std::size_t end_of_quote(std::string_view text, std::size_t begin) {
  const char quote = text[begin];
  if (quote != '"' && quote != '\'' && quote != '`') return begin;
  if (quote == '\'' && begin > 0 && is_word(text[begin - 1])) return begin;
  const std::size_t end = text.find(quote, begin + 1);
  return end == std::string_view::npos ? begin : end + 1;
}

/// Behind the word that begins at `begin`, with the dashes of a UUID or a date inside it.
std::size_t end_of_word(std::string_view text, std::size_t begin) {
  std::size_t end = begin;
  while (end < text.size() &&
         (is_word(text[end]) || (text[end] == '-' && end + 1 < text.size() && is_hex(text[end + 1])))) {
    ++end;
  }
  return end;
}

/// A number, a hex string, or a long mixture of letters and digits (ULID, base32, base62) is one mark. Of any other
/// word the digits are.
void append_masked_word(std::string& out, std::string_view word) {
  constexpr std::size_t kLongId = 16;
  constexpr auto kDigitsOfAnId = 3;
  const auto digits = std::ranges::count_if(word, is_digit);
  const bool is_all_hex = std::ranges::all_of(word, [](char c) { return is_hex(c) || c == '-'; });
  const bool is_prefixed_hex = word.size() > 2 && word[0] == '0' && (word[1] == 'x' || word[1] == 'X');
  if (is_prefixed_hex || (digits > 0 && is_all_hex) || (word.size() >= kLongId && digits >= kDigitsOfAnId)) {
    out += '#';
    return;
  }
  for (const char c : word) {
    if (!is_digit(c)) {
      out += c;
    } else if (out.empty() || out.back() != '#') {
      out += '#';
    }
  }
}

/// What varies in length becomes one mark: 1.5 and 20, 10.0.0.1 and 10.0.0.12, 3/991 and 3/10, -1 and 1.
std::string with_single_marks(std::string_view masked) {
  constexpr std::string_view kJoints = ".,:-/";
  std::string out;
  for (std::size_t i = 0; i < masked.size(); ++i) {
    if (masked[i] == '#') {
      while (!out.empty() && kJoints.find(out.back()) != std::string_view::npos && out.size() > 1 &&
             out[out.size() - 2] == '#') {
        out.pop_back();
      }
      if (!out.empty() && out.back() == '#') continue;
      if (!out.empty() && out.back() == '-' && (out.size() == 1 || out[out.size() - 2] == ' ')) out.pop_back();
    }
    out += masked[i];
  }
  return out;
}

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

/// A big-endian number of so many bytes, as Java's ByteBuffer writes it.
Bytes big_endian(std::int64_t number, int width) {
  std::string bytes;
  for (int shift = 8 * (width - 1); shift >= 0; shift -= 8) {
    bytes += static_cast<char>(static_cast<std::uint64_t>(number) >> shift & 0xff);
  }
  return bytes;
}

void set_spring_headers(Headers& headers, const Message& message, const Envelope& envelope) {
  const auto timestamp = std::chrono::floor<std::chrono::milliseconds>(message.origin_timestamp).time_since_epoch();
  headers.remove_prefixed(names::kSpringDltPrefix);
  headers.set(names::kSpringTopic, message.origin.topic);
  headers.set(names::kSpringPartition, big_endian(message.origin.partition, 4));
  headers.set(names::kSpringOffset, big_endian(message.origin.offset, 8));
  headers.set(names::kSpringTimestamp, big_endian(timestamp.count(), 8));
  // Which of the two it was is not known by now; nearly all topics have this one.
  headers.set(names::kSpringTimestampType, "CreateTime");
  headers.set(names::kSpringGroup, envelope.group);
  headers.set(names::kSpringExceptionFqcn, std::string(truncate_utf8(envelope.error_class, kErrorText)));
  headers.set(names::kSpringExceptionMessage, std::string(truncate_utf8(envelope.error_text, kErrorText)));
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

Headers dead_letter_headers(const Message& message, const Envelope& envelope, Families families) {
  Headers headers = without_failure_headers(message.headers);
  // Those of an earlier death, of a record that came from a dead-letter topic: ours replace them.
  headers.remove_prefixed(names::kKafkaDlqPrefix);
  set_failure_headers(headers, message, envelope);
  headers.set(names::kErrorFingerprint, fingerprint(envelope.error_class, envelope.error_text));
  headers.set(names::kKafkaDlqTopic, message.origin.topic);
  headers.set(names::kKafkaDlqPartition, std::to_string(message.origin.partition));
  headers.set(names::kKafkaDlqOffset, std::to_string(message.origin.offset));
  headers.set(names::kKafkaDlqGroup, envelope.group);
  headers.set(names::kKafkaDlqDeliveryCount, std::to_string(envelope.attempt));
  headers.set(names::kKafkaDlqMessage, std::string(truncate_utf8(envelope.error_text, kErrorText)));
  if (families == Families::kafka_and_spring) set_spring_headers(headers, message, envelope);
  return headers;
}

std::string mask(std::string_view text) {
  std::string out;
  std::size_t i = 0;
  while (i < text.size()) {
    const char c = text[i];
    if (const std::size_t end = end_of_quote(text, i); end > i) {
      out += c;
      out += "…";
      out += c;
      i = end;
    } else if (is_word(c)) {
      const std::size_t word_end = end_of_word(text, i);
      append_masked_word(out, text.substr(i, word_end - i));
      i = word_end;
    } else {
      out += c;
      ++i;
    }
  }
  return with_single_marks(out);
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
