#include <oncemark/message/headers.hpp>

#include <algorithm>

#include <nlohmann/json.hpp>
#include <oncemark/core/error.hpp>

#include "core/utf8.hpp"
#include "message/base64.hpp"

namespace oncemark {
namespace {

using nlohmann::json;

void append_json_string(std::string& out, std::string_view text) {
  constexpr std::string_view kHex = "0123456789abcdef";
  out += '"';
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (const auto byte = static_cast<unsigned char>(c); byte < 0x20) {
      out += "\\u00";
      out += kHex[byte >> 4];
      out += kHex[byte & 0x0F];
    } else {
      out += c;
    }
  }
  out += '"';
}

void append_bytes(std::string& out, std::string_view bytes) {
  if (utf8::is_valid(bytes)) {
    append_json_string(out, bytes);
  } else {
    out += "{\"base64\":\"" + base64::encode(bytes) + "\"}";
  }
}

[[noreturn]] void refuse(const std::string& reason) {
  throw PermanentError("headers cannot be read: " + reason + "; expected a JSON array of [name, value] pairs");
}

std::string read_bytes(const json& value, std::size_t index, const char* what) {
  if (value.is_string()) return value.get<std::string>();
  if (value.is_object() && value.size() == 1) {
    const auto encoded = value.find("base64");
    if (encoded != value.end() && encoded->is_string()) {
      auto bytes = base64::decode(encoded->get_ref<const std::string&>());
      if (bytes) return std::move(*bytes);
    }
  }
  refuse("the " + std::string(what) + " of header " + std::to_string(index) +
         " is neither text nor {\"base64\": text}");
}

Header read_header(const json& pair, std::size_t index) {
  if (!pair.is_array() || pair.size() != 2) {
    refuse("header " + std::to_string(index) + " is no pair");
  }
  std::string name = read_bytes(pair[0], index, "name");
  if (pair[1].is_null()) return {std::move(name), nullptr};
  return {std::move(name), read_bytes(pair[1], index, "value")};
}

json parse(std::string_view text) {
  try {
    return json::parse(text);
  } catch (const json::parse_error& error) {  // its text quotes the input, so only the place is passed on
    refuse("no JSON from byte " + std::to_string(error.byte));
  } catch (const json::out_of_range&) {
    refuse("a number in them is out of range");
  }
}

}  // namespace

void Headers::set(std::string_view name, Bytes value) {
  std::string own_name(name);  // `name` may point into a header that goes away
  remove(own_name);
  append(std::move(own_name), std::move(value));
}

void Headers::remove(std::string_view name) {
  const std::string own_name(name);
  std::erase_if(headers_, [&](const Header& header) { return header.name == own_name; });
}

void Headers::remove_prefixed(std::string_view prefix) {
  const std::string own_prefix(prefix);
  std::erase_if(headers_, [&](const Header& header) { return header.name.starts_with(own_prefix); });
}

const Bytes* Headers::find(std::string_view name) const noexcept {
  const auto found =
      std::find_if(headers_.rbegin(), headers_.rend(), [&](const Header& header) { return header.name == name; });
  return found == headers_.rend() ? nullptr : &found->value;
}

std::optional<std::string_view> Headers::text(std::string_view name) const noexcept {
  const Bytes* value = find(name);
  if (value == nullptr || value->is_null()) return std::nullopt;
  return value->view();
}

std::string encode_headers(const Headers& headers) {
  std::string out = "[";
  for (const Header& header : headers) {
    if (out.size() > 1) out += ',';
    out += '[';
    append_bytes(out, header.name);
    out += ',';
    if (header.value.is_null()) {
      out += "null";
    } else {
      append_bytes(out, header.value);
    }
    out += ']';
  }
  out += ']';
  return out;
}

Headers decode_headers(std::string_view text) {
  const json parsed = parse(text);
  if (!parsed.is_array()) refuse("the whole is no array");
  Headers headers;
  for (std::size_t i = 0; i < parsed.size(); ++i) {
    Header header = read_header(parsed[i], i);
    headers.append(std::move(header.name), std::move(header.value));
  }
  return headers;
}

}  // namespace oncemark
