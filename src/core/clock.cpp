#include <oncemark/core/clock.hpp>

#include <algorithm>
#include <array>
#include <cstdio>

#include <oncemark/core/error.hpp>

#include "core/utf8.hpp"

namespace oncemark {
namespace {

using namespace std::chrono;

constexpr Time kFirst = sys_days{year{0} / 1 / 1};
constexpr Time kLast = sys_days{year{10'000} / 1 / 1} - microseconds{1};

std::string format(Time time, char separator, const char* end) {
  const Time shown = std::clamp(time, kFirst, kLast);
  const auto day = floor<days>(shown);
  const year_month_day date{day};
  const hh_mm_ss clock{shown - day};
  std::array<char, 64> text{};
  const int length =
      std::snprintf(text.data(), text.size(), "%04d-%02u-%02u%c%02d:%02d:%02d.%06d%s", static_cast<int>(date.year()),
                    static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()), separator,
                    static_cast<int>(clock.hours().count()), static_cast<int>(clock.minutes().count()),
                    static_cast<int>(clock.seconds().count()), static_cast<int>(clock.subseconds().count()), end);
  return {text.data(), static_cast<std::size_t>(length)};
}

/// Takes a text apart from the left; remembers whether anything did not fit.
class TimeReader {
 public:
  explicit TimeReader(std::string_view text) : rest_(text) {}

  [[nodiscard]] bool is_good() const { return good_; }
  [[nodiscard]] bool is_finished() const { return rest_.empty(); }

  bool accept(std::string_view any_of) {
    if (rest_.empty() || any_of.find(rest_.front()) == std::string_view::npos) return false;
    rest_.remove_prefix(1);
    return true;
  }

  void expect(std::string_view any_of) { good_ = accept(any_of) && good_; }

  int number(std::size_t digits, int lowest, int highest) {
    int value = 0;
    for (std::size_t i = 0; i < digits; ++i) value = value * 10 + digit();
    good_ = good_ && value >= lowest && value <= highest;
    return value;
  }

  Time date_and_time(std::string_view separator, std::size_t max_fraction_digits) {
    const year y{number(4, 0, 9999)};
    expect("-");
    const month m{static_cast<unsigned>(number(2, 1, 12))};
    expect("-");
    const year_month_day date{y, m, day{static_cast<unsigned>(number(2, 1, 31))}};
    good_ = good_ && date.ok();
    expect(separator);
    const hours h{number(2, 0, 23)};
    expect(":");
    const minutes min{number(2, 0, 59)};
    expect(":");
    const seconds s{number(2, 0, 59)};
    const microseconds fraction = accept(".") ? read_fraction(max_fraction_digits) : microseconds{};
    return good_ ? Time{sys_days{date}} + h + min + s + fraction : Time{};
  }

  minutes offset() {
    if (accept("Zz")) return {};
    const bool is_west = accept("-");
    if (!is_west) expect("+");
    const hours h{number(2, 0, 23)};
    expect(":");
    const minutes total = h + minutes{number(2, 0, 59)};
    return is_west ? -total : total;
  }

 private:
  [[nodiscard]] bool at_digit() const { return !rest_.empty() && rest_.front() >= '0' && rest_.front() <= '9'; }

  int digit() {
    if (!at_digit()) {
      good_ = false;
      return 0;
    }
    const int value = rest_.front() - '0';
    rest_.remove_prefix(1);
    return value;
  }

  microseconds read_fraction(std::size_t max_digits) {
    int value = 0;
    std::size_t count = 0;
    for (; at_digit(); ++count) {
      const int next = digit();
      if (count < 6) value = value * 10 + next;  // what a microsecond cannot hold is cut
    }
    good_ = good_ && count >= 1 && count <= max_digits;
    for (; count < 6; ++count) value *= 10;
    return microseconds{value};
  }

  std::string_view rest_;
  bool good_ = true;
};

}  // namespace

Time SystemClock::now() const noexcept { return floor<microseconds>(system_clock::now()); }

SteadyTime SystemClock::steady() const noexcept { return steady_clock::now(); }

std::string format_rfc3339(Time time) { return format(time, 'T', "Z"); }

Time parse_rfc3339(std::string_view text) {
  TimeReader reader(text);
  const Time local = reader.date_and_time("Tt ", 9);
  const minutes offset = reader.offset();
  if (!reader.is_good() || !reader.is_finished()) {
    throw PermanentError("not an RFC 3339 time: " + utf8::in_quotes(text) +
                         "; expected the form 2026-11-23T09:30:00.000123Z");
  }
  return local - offset;
}

std::string format_datetime(Time time) { return format(time, ' ', ""); }

Time parse_datetime(std::string_view text) {
  TimeReader reader(text);
  const Time time = reader.date_and_time(" ", 6);
  if (!reader.is_good() || !reader.is_finished()) {
    throw PermanentError("not a DATETIME: " + utf8::in_quotes(text) + "; expected the form 2026-11-23 09:30:00.000123");
  }
  return time;
}

}  // namespace oncemark
