#include "binlog/temporal.hpp"

#include <array>
#include <chrono>
#include <cstdio>

namespace oncemark::binlog {
namespace {

constexpr unsigned kMaxDigits = 6;

template <typename... Arguments>
std::string print(const char* format, Arguments... arguments) {
  std::array<char, 64> text{};
  const int length = std::snprintf(text.data(), text.size(), format, arguments...);
  return {text.data(), static_cast<std::size_t>(length)};
}

unsigned fraction_bytes(unsigned digits) {
  if (digits > kMaxDigits) refuse_bytes("a time has " + std::to_string(digits) + " digits of fraction");
  return (digits + 1) / 2;
}

// Two digits a byte; an odd number of digits leaves the last one zero.
std::string fraction(std::uint64_t value, unsigned digits) {
  if (digits == 0) return {};
  std::string text =
      print("%0*llu", static_cast<int>(2 * fraction_bytes(digits)), static_cast<unsigned long long>(value));
  text.resize(digits);
  return "." + text;
}

std::string clock_text(std::uint64_t hours_minutes_seconds) {
  return print("%02u:%02u:%02u", static_cast<unsigned>(hours_minutes_seconds >> 12),
               static_cast<unsigned>(hours_minutes_seconds >> 6 & 0x3f),
               static_cast<unsigned>(hours_minutes_seconds & 0x3f));
}

std::string datetime_text(std::uint64_t value) {
  const auto year_month = static_cast<unsigned>(value >> 22);
  return print("%04u-%02u-%02u ", year_month / 13, year_month % 13, static_cast<unsigned>(value >> 17 & 0x1f)) +
         clock_text(value & 0x1ffff);
}

// Groups of nine digits take four bytes, what is left over as few as hold it.
constexpr std::array<unsigned, 10> kBytesOfDigits{0, 1, 1, 2, 2, 3, 3, 4, 4, 4};

void append_digits(std::string& text, std::uint64_t value, unsigned digits) {
  const std::string printed = print("%0*llu", static_cast<int>(digits), static_cast<unsigned long long>(value));
  if (printed.size() != digits) refuse_bytes("a decimal holds a group of more digits than it may have");
  text += printed;
}

}  // namespace

std::string read_date(Cursor& bytes) {
  const auto value = static_cast<unsigned>(bytes.little(3));
  return print("%04u-%02u-%02u", value >> 9, value >> 5 & 0xf, value & 0x1f);
}

// One number over all of its bytes, moved so that negative times sort before positive ones.
std::string read_time(Cursor& bytes, unsigned digits) {
  const unsigned more = fraction_bytes(digits);
  const auto raw = static_cast<std::int64_t>(bytes.big(3 + more));
  std::int64_t value = raw - (std::int64_t{0x800000} << (8 * more));
  const bool is_negative = value < 0;
  if (is_negative) value = -value;
  const std::uint64_t whole = static_cast<std::uint64_t>(value) >> (8 * more);
  const std::uint64_t part = static_cast<std::uint64_t>(value) & ((std::uint64_t{1} << (8 * more)) - 1);
  return (is_negative ? "-" : "") + clock_text(whole) + fraction(part, digits);
}

std::string read_datetime(Cursor& bytes, unsigned digits) {
  const std::uint64_t raw = bytes.big(5);
  constexpr std::uint64_t kZero = 0x8000000000;
  if (raw < kZero) refuse_bytes("a datetime lies before the year 0");
  const unsigned more = fraction_bytes(digits);
  const std::uint64_t part = more == 0 ? 0 : bytes.big(more);
  return datetime_text(raw - kZero) + fraction(part, digits);
}

std::string read_timestamp(Cursor& bytes, unsigned digits) {
  const std::uint64_t raw = bytes.big(4);
  const unsigned more = fraction_bytes(digits);
  const std::uint64_t part = more == 0 ? 0 : bytes.big(more);
  if (raw == 0 && part == 0) return "0000-00-00 00:00:00" + fraction(0, digits);
  const std::chrono::sys_seconds time{std::chrono::seconds(raw)};
  const auto day = std::chrono::floor<std::chrono::days>(time);
  const std::chrono::year_month_day date{day};
  const auto seconds = static_cast<unsigned>((time - day).count());
  return print("%04d-%02u-%02u %02u:%02u:%02u", static_cast<int>(date.year()), static_cast<unsigned>(date.month()),
               static_cast<unsigned>(date.day()), seconds / 3600, seconds / 60 % 60, seconds % 60) +
         fraction(part, digits);
}

std::size_t decimal_size(unsigned precision, unsigned scale) {
  if (precision == 0 || precision > 65 || scale > precision || scale > 38) {
    refuse_bytes("a decimal has " + std::to_string(precision) + " digits, " + std::to_string(scale) +
                 " of them after the point");
  }
  const unsigned whole = precision - scale;
  return std::size_t{whole / 9} * 4 + kBytesOfDigits[whole % 9] + std::size_t{scale / 9} * 4 +
         kBytesOfDigits[scale % 9];
}

// Big endian, the first bit turned; a negative number has all of its bits turned.
std::string read_decimal(Cursor& bytes, unsigned precision, unsigned scale) {
  std::string raw(bytes.take(decimal_size(precision, scale)));
  const bool is_negative = (static_cast<unsigned char>(raw[0]) & 0x80u) == 0;
  raw[0] = static_cast<char>(raw[0] ^ '\x80');
  if (is_negative) {
    for (char& byte : raw) byte = static_cast<char>(~byte);
  }
  Cursor groups(raw);
  const unsigned whole = precision - scale;
  std::string digits;
  if (whole % 9 != 0) append_digits(digits, groups.big(kBytesOfDigits[whole % 9]), whole % 9);
  for (unsigned i = 0; i < whole / 9; ++i) append_digits(digits, groups.big(4), 9);
  const std::size_t first = digits.find_first_not_of('0');
  std::string text = is_negative ? "-" : "";
  text += first == std::string::npos ? "0" : digits.substr(first);
  if (scale == 0) return text;
  std::string decimals;
  for (unsigned i = 0; i < scale / 9; ++i) append_digits(decimals, groups.big(4), 9);
  if (scale % 9 != 0) append_digits(decimals, groups.big(kBytesOfDigits[scale % 9]), scale % 9);
  return text + "." + decimals;
}

std::string packed_datetime(std::int64_t packed, bool is_date_only) {
  if (packed < 0) refuse_bytes("a datetime lies before the year 0");
  const std::string text = datetime_text(static_cast<std::uint64_t>(packed) >> 24);
  if (is_date_only) return text.substr(0, text.find(' '));
  return text + fraction(static_cast<std::uint64_t>(packed) & 0xffffff, kMaxDigits);
}

std::string packed_time(std::int64_t packed) {
  const bool is_negative = packed < 0;
  const std::uint64_t value =
      is_negative ? std::uint64_t{0} - static_cast<std::uint64_t>(packed) : static_cast<std::uint64_t>(packed);
  return (is_negative ? "-" : "") + clock_text(value >> 24) + fraction(value & 0xffffff, kMaxDigits);
}

}  // namespace oncemark::binlog
