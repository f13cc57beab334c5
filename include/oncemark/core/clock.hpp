#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <string_view>

namespace oncemark {

/// A moment on the UTC wall clock, as precise as DATETIME(6).
using Time = std::chrono::sys_time<std::chrono::microseconds>;
/// A moment on the monotonic clock; for durations inside one process.
using SteadyTime = std::chrono::steady_clock::time_point;

/// Where time comes from. Due times and leases use the database's clock instead (design, decision 15).
///
/// Threads: implementations are safe to call from any thread.
/// Errors:  none.
class Clock {
 public:
  virtual ~Clock() = default;
  [[nodiscard]] virtual Time now() const noexcept = 0;
  [[nodiscard]] virtual SteadyTime steady() const noexcept = 0;
};

/// The machine's clocks.
class SystemClock final : public Clock {
 public:
  [[nodiscard]] Time now() const noexcept override;
  [[nodiscard]] SteadyTime steady() const noexcept override;
};

/// RFC 3339 in UTC with six digits: 2026-11-23T09:30:00.000123Z. The form of every time header.
/// A moment outside the years 0 to 9999 prints as the nearest one inside, here and in format_datetime().
[[nodiscard]] std::string format_rfc3339(Time time);
/// Reads RFC 3339 in UTC ('Z' or an offset; 0 to 9 fractional digits, cut to six). Throws PermanentError.
[[nodiscard]] Time parse_rfc3339(std::string_view text);
/// A DATETIME(6) literal in UTC: 2026-11-23 09:30:00.000123. The form of every time bound to a statement.
[[nodiscard]] std::string format_datetime(Time time);
/// Reads a DATETIME with 0 to 6 fractional digits as UTC. Throws PermanentError.
[[nodiscard]] Time parse_datetime(std::string_view text);

}  // namespace oncemark
