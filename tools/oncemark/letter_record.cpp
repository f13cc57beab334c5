#include "letter_record.hpp"

#include <limits>

#include <oncemark/observe/log.hpp>

#include "payload_edit.hpp"
#include "program.hpp"

namespace oncemark::tools {
namespace {

using dead_letter::Letter;

constexpr std::size_t kSchemaIdBytes = 5;  // of a registry: a zero, and the id in four bytes

std::int64_t milliseconds_of(Time time) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(time.time_since_epoch()).count();
}

/// null, {"enc": "utf8", "data": text} or {"enc": "base64", "data": …}.
Json encoded(const Bytes& bytes) {
  if (bytes.is_null()) return nullptr;
  Json json = to_json(bytes);
  if (json.is_string()) return {{"enc", "utf8"}, {"data", std::move(json)}};
  return {{"enc", "base64"}, {"data", std::move(json["base64"])}};
}

Json encoded_value(const Bytes& payload) {
  Json json = encoded(payload);
  if (json.is_null()) return json;
  json["size"] = payload.size();
  const std::string_view bytes = payload.view();
  if (bytes.size() > kSchemaIdBytes && bytes[0] == '\0') {
    std::uint32_t id = 0;
    for (const char byte : bytes.substr(1, 4)) id = id << 8 | static_cast<unsigned char>(byte);
    json["schema_id"] = id;
  }
  return json;
}

/// Names and ids: text where they are, else as encoded().
Json text_or_encoded(const std::string& text) {
  Json json = to_json(Bytes(text));
  return json.is_string() ? json : encoded(Bytes(text));
}

/// What both forms have in common; key, value and headers are left open.
Json frame_of(const Letter& letter) {
  const Message& message = letter.message;
  return {{"schema", kRecordSchema},
          {"topic", letter.dlq_topic},
          {"key", nullptr},
          {"value", nullptr},
          {"headers", nullptr},
          {"origin",
           {{"topic", message.origin.topic},
            {"partition", message.origin.partition},
            {"offset", message.origin.offset},
            {"timestamp", milliseconds_of(message.origin_timestamp)},
            {"group", letter.group}}},
          {"error",
           {{"code", text_or_encoded(letter.error_class)},
            {"message", text_or_encoded(letter.error_text)},
            {"stage", letter.stage},
            {"fingerprint", letter.fingerprint}}},
          {"id", text_or_encoded(message.id)},
          {"business_key", text_or_encoded(message.business_key)},
          {"dead_letter_id", letter.id},
          {"consumer", letter.consumer},
          {"attempts", letter.attempts},
          {"replays", message.life - 1},
          {"event_time", to_json(message.event_time)},
          {"first_failed_at", to_json(letter.first_failed_at)},
          {"failed_at", to_json(letter.died_at)},
          {"status", to_string(letter.state)}};
}

const Json& field(const Json& json, const char* name) {
  const auto found = json.find(name);
  if (found == json.end()) throw UsageError("it has no \"" + std::string(name) + "\"");
  return *found;
}

/// Through the form in which headers lie in our tables, which says what it cannot read.
Bytes decoded(const Json& json, const std::string& what) {
  try {
    if (json.is_null()) return nullptr;
    if (json.is_string()) return json.get<std::string>();
    const Json& data = field(json, "data");
    const Json& enc = field(json, "enc");
    if (enc == "utf8" && data.is_string()) return data.get<std::string>();
    if (enc == "base64") {
      const Json pair = Json::array({Json::array({"", Json::object({{"base64", data}})})});
      return decode_headers(pair.dump()).begin()->value;
    }
  } catch (const std::exception&) {
    // The same answer to everything that it cannot be.
  }
  throw UsageError(what + R"( is neither null, nor text, nor {"enc": "utf8" or "base64", "data": …})");
}

Headers headers_from(const Json& json) {
  if (!json.is_array()) throw UsageError("its \"headers\" are no array of [name, value] pairs");
  Headers headers;
  for (const Json& pair : json) {
    if (!pair.is_array() || pair.size() != 2 || pair[0].is_null()) {
      throw UsageError("its \"headers\" are no array of [name, value] pairs");
    }
    headers.append(decoded(pair[0], "the name of a header").str(), decoded(pair[1], "a header"));
  }
  return headers;
}

template <typename Number>
Number number_from(const Json& json, const char* name) {
  const Json& number = field(json, name);
  if (number.is_number_unsigned() && number.get<std::uint64_t>() <= std::numeric_limits<Number>::max()) {
    return number.get<Number>();
  }
  throw UsageError("its \"" + std::string(name) + "\" is no number that it could be");
}

}  // namespace

Json record_json(const Letter& letter) {
  Json json = frame_of(letter);
  json["key"] = encoded(letter.message.key);
  json["value"] = encoded_value(letter.message.payload);
  Json headers = Json::array();
  for (const Header& header : letter.message.headers) {
    headers.push_back(Json::array({text_or_encoded(header.name), encoded(header.value)}));
  }
  json["headers"] = std::move(headers);
  return json;
}

RecordLine parse_record_line(std::string_view line) {
  const auto json = parse_payload(line);
  if (!json || !json->is_object()) throw UsageError("it is no JSON object");
  if (field(*json, "schema") != kRecordSchema) {
    throw UsageError("its \"schema\" is not " + std::string(kRecordSchema));
  }
  const Json& consumer = field(*json, "consumer");
  if (!consumer.is_string()) throw UsageError("its \"consumer\" is no text");
  return {.letter = number_from<std::uint64_t>(*json, "dead_letter_id"),
          .consumer = consumer.get<std::string>(),
          .message_id = decoded(field(*json, "id"), "its \"id\""),
          .replays = number_from<std::uint32_t>(*json, "replays"),
          .key = decoded(field(*json, "key"), "its \"key\""),
          .payload = decoded(field(*json, "value"), "its \"value\""),
          .headers = headers_from(field(*json, "headers"))};
}

std::string jq_document(const Letter& letter) {
  Json document = frame_of(letter);
  document["ts"] = milliseconds_of(letter.died_at);
  document["key"] = to_json(letter.message.key);
  Json headers = Json::object();
  for (const Header& header : letter.message.headers) {
    headers[to_json(Bytes(header.name)).is_string() ? header.name : printable(header.name)] = to_json(header.value);
  }
  document["headers"] = std::move(headers);
  document.erase("value");
  std::string text = document.dump(-1, ' ', false, Json::error_handler_t::replace);
  // The payload as it is: parsing and writing it here would only cost time.
  const Bytes& payload = letter.message.payload;
  const bool is_json = !payload.is_null() && Json::accept(payload.view());
  text.back() = ',';
  text += "\"value\":";
  if (is_json) {
    text += payload.view();
  } else {
    text += to_json(payload).dump(-1, ' ', false, Json::error_handler_t::replace);
  }
  return text + "}";
}

}  // namespace oncemark::tools
