#include "core/utf8.hpp"

namespace oncemark::utf8 {
namespace {

struct SecondByte {
  unsigned char lowest;
  unsigned char highest;
};

// Overlongs, surrogates and too high code points are all told by the second byte.
SecondByte second_byte_after(unsigned char lead) noexcept {
  switch (lead) {
    case 0xE0:
      return {0xA0, 0xBF};
    case 0xED:
      return {0x80, 0x9F};
    case 0xF0:
      return {0x90, 0xBF};
    case 0xF4:
      return {0x80, 0x8F};
    default:
      return {0x80, 0xBF};
  }
}

std::size_t length_after(unsigned char lead) noexcept {
  if (lead < 0x80) return 1;
  if (lead >= 0xC2 && lead <= 0xDF) return 2;
  if (lead >= 0xE0 && lead <= 0xEF) return 3;
  if (lead >= 0xF0 && lead <= 0xF4) return 4;
  return 0;
}

}  // namespace

std::size_t sequence_length(std::string_view text) noexcept {
  if (text.empty()) return 0;
  const auto lead = static_cast<unsigned char>(text[0]);
  const std::size_t length = length_after(lead);
  if (length < 2) return length;
  if (text.size() < length) return 0;

  const auto second = static_cast<unsigned char>(text[1]);
  const SecondByte range = second_byte_after(lead);
  if (second < range.lowest || second > range.highest) return 0;
  for (std::size_t i = 2; i < length; ++i) {
    if ((static_cast<unsigned char>(text[i]) & 0xC0) != 0x80) return 0;
  }
  return length;
}

bool is_valid(std::string_view text) noexcept {
  while (!text.empty()) {
    const std::size_t length = sequence_length(text);
    if (length == 0) return false;
    text.remove_prefix(length);
  }
  return true;
}

std::string repaired(std::string_view text) {
  std::string result;
  while (!text.empty()) {
    const std::size_t length = sequence_length(text);
    result += length == 0 ? "?" : text.substr(0, length);
    text.remove_prefix(length == 0 ? 1 : length);
  }
  return result;
}

std::string in_quotes(std::string_view text) {
  constexpr std::size_t kLimit = 40;
  std::string result = "'";
  for (const char c : text.substr(0, kLimit)) result += c >= 0x20 && c < 0x7F ? c : '?';
  result += text.size() > kLimit ? "'..." : "'";
  return result;
}

}  // namespace oncemark::utf8
