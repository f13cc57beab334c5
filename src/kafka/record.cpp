#include "kafka/record.hpp"

#include <oncemark/observe/log.hpp>

namespace oncemark::kafka {
namespace {

Bytes to_bytes(const void* data, std::size_t size) {
  if (!data) return nullptr;
  return std::string_view(static_cast<const char*>(data), size);
}

Time time_of(const rd_kafka_message_t& message) {
  rd_kafka_timestamp_type_t type = RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
  const std::int64_t ms = rd_kafka_message_timestamp(&message, &type);
  if (type == RD_KAFKA_TIMESTAMP_NOT_AVAILABLE || ms < 0) return {};
  return Time(std::chrono::milliseconds(ms));
}

Headers headers_of(const rd_kafka_message_t& message, const Position& position) {
  Headers headers;
  rd_kafka_headers_t* native = nullptr;  // the message's
  const rd_kafka_resp_err_t error = rd_kafka_message_headers(&message, &native);
  if (error == RD_KAFKA_RESP_ERR__NOENT) return headers;
  if (error) {
    log(LogLevel::warn, "the headers of a record cannot be read; it is delivered without any",
        {{"position", position.str()}, {"error", rd_kafka_err2name(error)}});
    return headers;
  }
  const char* name = nullptr;
  const void* value = nullptr;
  std::size_t size = 0;
  for (std::size_t i = 0; rd_kafka_header_get_all(native, i, &name, &value, &size) == RD_KAFKA_RESP_ERR_NO_ERROR; ++i) {
    headers.append(name, to_bytes(value, size));
  }
  return headers;
}

}  // namespace

Record to_record(const rd_kafka_message_t& message) {
  Record record;
  record.position = {rd_kafka_topic_name(message.rkt), message.partition, message.offset};
  record.timestamp = time_of(message);
  record.key = to_bytes(message.key, message.key_len);
  record.payload = to_bytes(message.payload, message.len);
  record.headers = headers_of(message, record.position);
  return record;
}

HeadersHandle to_native(const Headers& headers) {
  if (headers.empty()) return nullptr;
  HeadersHandle native(rd_kafka_headers_new(headers.size()));
  for (const Header& header : headers) {
    rd_kafka_header_add(native.get(), header.name.data(), static_cast<ssize_t>(header.name.size()), header.value.data(),
                        static_cast<ssize_t>(header.value.size()));
  }
  return native;
}

}  // namespace oncemark::kafka
