#include "binlog/json_binary.hpp"

#include <array>
#include <bit>
#include <charconv>
#include <cmath>
#include <cstdint>

#include "binlog/cursor.hpp"
#include "binlog/table_map.hpp"
#include "binlog/temporal.hpp"
#include "core/utf8.hpp"
#include "message/base64.hpp"

namespace oncemark::binlog {
namespace {

enum Type : std::uint8_t {
  kSmallObject = 0x00,
  kLargeObject = 0x01,
  kSmallArray = 0x02,
  kLargeArray = 0x03,
  kLiteral = 0x04,
  kInt16 = 0x05,
  kUint16 = 0x06,
  kInt32 = 0x07,
  kUint32 = 0x08,
  kInt64 = 0x09,
  kUint64 = 0x0a,
  kReal = 0x0b,
  kText = 0x0c,
  kOpaque = 0x0f,
};

constexpr int kMaxDepth = 100;

// Of text for each byte of the document, about: an inlined number of two bytes has six digits, a byte of a string may be
// escaped to six.
constexpr std::size_t kGrowth = 16;
constexpr std::size_t kSmallest = 1'024;

/// Writes one document. Offsets may point anywhere in it, and many times to the same place: what is visited and written
/// is bounded by the size of the document, so that a few bytes cannot unfold without end.
class Writer {
 public:
  explicit Writer(std::size_t size) : visits_left_(size + 1), most_(kSmallest + kGrowth * size) {}

  void value(std::uint8_t type, std::string_view bytes, int depth);
  [[nodiscard]] std::string take() { return std::move(out_); }

 private:
  void container(std::string_view bytes, bool is_object, bool is_large, int depth);
  void element(Cursor& entries, std::string_view container, bool is_large, int depth);
  void literal(std::uint64_t value);
  void opaque(Cursor& bytes);

  std::size_t visits_left_;
  const std::size_t most_;
  std::string out_;
};

// Seven bits a byte, the lowest first; at most 32 bits.
std::string_view take_sized(Cursor& bytes) {
  std::uint64_t size = 0;
  for (unsigned shift = 0; shift < 35; shift += 7) {
    const std::uint8_t byte = bytes.byte();
    size |= std::uint64_t{byte & 0x7fu} << shift;
    if ((byte & 0x80u) == 0) return bytes.take(size);
  }
  refuse_bytes("a JSON value has a length of more than five bytes");
}

bool is_inlined(std::uint8_t type, bool is_large) noexcept {
  return type == kLiteral || type == kInt16 || type == kUint16 || (is_large && (type == kInt32 || type == kUint32));
}

std::string_view from(std::string_view container, std::uint64_t offset) {
  if (offset > container.size()) refuse_bytes("a JSON value lies outside of its document");
  return container.substr(static_cast<std::size_t>(offset));
}

void Writer::value(std::uint8_t type, std::string_view bytes, int depth) {
  if (visits_left_ == 0 || out_.size() > most_) refuse_bytes("a JSON document unfolds to more than it can hold");
  --visits_left_;
  Cursor cursor(bytes);
  switch (type) {
    case kSmallObject:
    case kLargeObject:
      return container(bytes, true, type == kLargeObject, depth);
    case kSmallArray:
    case kLargeArray:
      return container(bytes, false, type == kLargeArray, depth);
    case kLiteral:
      return literal(cursor.little(1));
    case kInt16:
      out_ += std::to_string(static_cast<std::int16_t>(cursor.little(2)));
      return;
    case kUint16:
      out_ += std::to_string(cursor.little(2));
      return;
    case kInt32:
      out_ += std::to_string(static_cast<std::int32_t>(cursor.little(4)));
      return;
    case kUint32:
      out_ += std::to_string(cursor.little(4));
      return;
    case kInt64:
      out_ += std::to_string(static_cast<std::int64_t>(cursor.little(8)));
      return;
    case kUint64:
      out_ += std::to_string(cursor.little(8));
      return;
    case kReal:
      out_ += json_number(std::bit_cast<double>(cursor.little(8)));
      return;
    case kText:
      append_json_string(out_, take_sized(cursor));
      return;
    case kOpaque:
      return opaque(cursor);
    default:
      refuse_bytes("a JSON value has the type " + std::to_string(type));
  }
}

// Element count and size, then (objects) where each key lies, then where each value lies or the value itself.
void Writer::container(std::string_view bytes, bool is_object, bool is_large, int depth) {
  if (depth >= kMaxDepth) refuse_bytes("a JSON document is nested more than 100 deep");
  const unsigned width = is_large ? 4 : 2;
  Cursor head(bytes);
  const std::uint64_t count = head.little(width);
  const std::uint64_t size = head.little(width);
  if (size > bytes.size()) refuse_bytes("a JSON value is longer than its document");
  const std::string_view whole = bytes.substr(0, static_cast<std::size_t>(size));
  Cursor entries(whole);
  entries.take(2 * width);
  Cursor keys(is_object ? entries.take(count * (width + 2)) : std::string_view());
  out_ += is_object ? '{' : '[';
  for (std::uint64_t i = 0; i < count; ++i) {
    if (i > 0) out_ += ", ";
    if (is_object) {
      const std::uint64_t offset = keys.little(width);
      const std::uint64_t length = keys.little(2);
      append_json_string(out_, Cursor(from(whole, offset)).take(length));
      out_ += ": ";
    }
    element(entries, whole, is_large, depth);
  }
  out_ += is_object ? '}' : ']';
}

void Writer::element(Cursor& entries, std::string_view container, bool is_large, int depth) {
  const std::uint8_t type = entries.byte();
  const std::string_view entry = entries.take(is_large ? 4 : 2);
  if (is_inlined(type, is_large)) return value(type, entry, depth + 1);
  const std::uint64_t offset = Cursor(entry).little(static_cast<unsigned>(entry.size()));
  value(type, from(container, offset), depth + 1);
}

void Writer::literal(std::uint64_t value) {
  if (value > 2) refuse_bytes("a JSON literal is " + std::to_string(value));
  constexpr std::array<std::string_view, 3> kNames{"null", "true", "false"};
  out_ += kNames[static_cast<std::size_t>(value)];
}

void Writer::opaque(Cursor& bytes) {
  const std::uint8_t kind = bytes.byte();
  const std::string_view data = take_sized(bytes);
  Cursor cursor(data);
  switch (kind) {
    case kDecimal: {
      const unsigned precision = cursor.byte();
      const unsigned scale = cursor.byte();
      out_ += read_decimal(cursor, precision, scale);
      return;
    }
    case kOldTimestamp:
    case kOldDatetime:
    case kDate:
      append_json_string(out_, packed_datetime(static_cast<std::int64_t>(cursor.little(8)), kind == kDate));
      return;
    case kOldTime:
      append_json_string(out_, packed_time(static_cast<std::int64_t>(cursor.little(8))));
      return;
    default:
      append_json_string(out_, "base64:type" + std::to_string(kind) + ":" + base64::encode(data));
  }
}

template <typename Number>
std::string shortest(Number value) {
  if (!std::isfinite(value)) return "null";
  std::array<char, 40> text{};
  const auto [end, error] = std::to_chars(text.data(), text.data() + text.size(), value);
  return {text.data(), end};
}

}  // namespace

std::string json_number(double value) { return shortest(value); }
std::string json_number(float value) { return shortest(value); }

void append_json_string(std::string& out, std::string_view text) {
  constexpr std::string_view kHex = "0123456789abcdef";
  out += '"';
  while (!text.empty()) {
    const auto byte = static_cast<unsigned char>(text.front());
    if (byte >= 0x80) {
      const std::size_t length = utf8::sequence_length(text);
      if (length == 0) {
        out += '?';
      } else {
        out += text.substr(0, length);
      }
      text.remove_prefix(length == 0 ? 1 : length);
      continue;
    }
    text.remove_prefix(1);
    if (byte == '"' || byte == '\\') {
      out += '\\';
      out += static_cast<char>(byte);
    } else if (byte >= 0x20) {
      out += static_cast<char>(byte);
    } else if (byte == '\n') {
      out += "\\n";
    } else if (byte == '\t') {
      out += "\\t";
    } else {
      out += "\\u00";
      out += kHex[byte >> 4];
      out += kHex[byte & 0xf];
    }
  }
  out += '"';
}

std::string json_text(std::string_view binary) {
  if (binary.empty()) return "null";
  Writer writer(binary.size());
  writer.value(static_cast<std::uint8_t>(binary.front()), binary.substr(1), 0);
  return writer.take();
}

}  // namespace oncemark::binlog
