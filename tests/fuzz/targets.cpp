#include "fuzz/targets.hpp"

#include <array>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>

#include <unistd.h>

#include <oncemark/config/load.hpp>
#include <oncemark/core/error.hpp>
#include <oncemark/dead_letter/foreign.hpp>
#include <oncemark/message/codec.hpp>
#include <oncemark/message/headers.hpp>
#include <oncemark/message/json_pointer.hpp>

namespace oncemark::fuzz {
namespace {

void require(bool holds, const char* what) {
  if (!holds) throw std::logic_error(std::string("broken: ") + what);
}

// What the families of dead-letter topics write, so that few bytes reach far into each.
constexpr std::array<std::string_view, 24> kNames = {"om-message-id",
                                                     "om-event-time",
                                                     "om-attempt",
                                                     "om-life",
                                                     "om-due",
                                                     "om-origin-topic",
                                                     "om-origin-partition",
                                                     "om-origin-offset",
                                                     "om-origin-timestamp",
                                                     "om-origin-group",
                                                     "om-error-class",
                                                     "om-error-message",
                                                     "om-first-failed-at",
                                                     "__dlq.errors.topic",
                                                     "__dlq.errors.partition",
                                                     "__dlq.errors.offset",
                                                     "__connect.errors.topic",
                                                     "__connect.errors.partition",
                                                     "kafka_dlt-original-topic",
                                                     "kafka_dlt-original-partition",
                                                     "kafka_dlt-original-offset",
                                                     "kafka_dlt-original-timestamp",
                                                     "kafka_dlt-exception-fqcn",
                                                     "__streams.errors.offset"};

/// Headers, one after the other: a byte for the name (past the table: so many bytes of a name of its own), a byte for
/// the length of the value (255: null), the value.
Headers headers_of(std::string_view bytes) {
  Headers headers;
  const auto take = [&](std::size_t count) {
    const std::string_view taken = bytes.substr(0, count);
    bytes.remove_prefix(taken.size());
    return std::string(taken);
  };
  while (bytes.size() >= 2) {
    const auto chosen = static_cast<unsigned char>(bytes[0]);
    const auto length = static_cast<unsigned char>(bytes[1]);
    bytes.remove_prefix(2);
    std::string name = chosen < kNames.size() ? std::string(kNames[chosen]) : take(chosen - kNames.size());
    Bytes value = nullptr;
    if (length != 255) value = Bytes(take(length));
    headers.append(std::move(name), std::move(value));
  }
  return headers;
}

}  // namespace

void headers(std::string_view bytes) {
  try {
    const Headers read = decode_headers(bytes);
    require(decode_headers(encode_headers(read)) == read, "headers read, written and read again are the same");
  } catch (const PermanentError&) {
  }
}

void json(std::string_view bytes) {
  const std::size_t end = bytes.find('\n');
  const std::string pointer(bytes.substr(0, end));
  const Bytes payload(std::string(end == std::string_view::npos ? "" : bytes.substr(end + 1)));
  try {
    const JsonPointer place(pointer);
    require(place.str() == pointer, "a pointer is what it was made from");
    const std::array<JsonPointer, 1> places{place};
    const auto hash = json_hash(payload, places);
    require(hash != 0u, "a hash is never 0");
    require(!json_key(payload, place).empty(), "a key is never empty");
    require(hash.has_value(), "what has a key has a hash");
  } catch (const ConfigError&) {
  } catch (const PermanentError&) {
  }
}

void config(std::string_view bytes) {
  static const std::filesystem::path file =
      std::filesystem::temp_directory_path() / ("oncemark-fuzz-" + std::to_string(::getpid()) + ".toml");
  std::ofstream(file, std::ios::binary) << bytes;
  try {
    (void)config::load(file, {});
  } catch (const ConfigError&) {
  }
  std::filesystem::remove(file);
}

void foreign(std::string_view bytes) {
  Record record;
  record.position = {"topic", 0, 7};
  record.payload = Bytes(std::string(bytes.substr(0, 8)));
  record.headers = headers_of(bytes);
  const dead_letter::Provenance found = dead_letter::provenance_of(record);
  require(dead_letter::headers_before(record.headers, found.family).size() <= record.headers.size(),
          "taking headers away adds none");
  require(decode_headers(encode_headers(record.headers)) == record.headers, "headers survive the table");
  for (const auto decode : {decode_source_record, decode_retry_record}) {
    try {
      (void)decode(record);
    } catch (const Error&) {
    }
  }
}

}  // namespace oncemark::fuzz
