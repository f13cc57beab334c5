#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace oncemark::faults {

/// Named places in the write paths where a test may kill or stop the process, or make it throw.
///
/// Shape:   ONCEMARK_FAULT=name:action[@n][,name:action[@n]…]; action is kill (SIGKILL to itself), stop (SIGSTOP) or
///          throw (Error{transient}); n is the n-th passage (default: the first). Off, and one relaxed atomic load a
///          passage, unless the variable is set when the process starts or arm() is called.
/// Threads: any.
/// Errors:  MisuseError for a specification that cannot be read or names no known fail point.
/// Source:  docs/guarantees.md has one row per name; a test compares the two.
void arm(std::string_view specification);
void disarm();

/// Every name that ONCEMARK_FAIL_POINT is used with, sorted.
[[nodiscard]] const std::vector<std::string>& names();

namespace detail {
[[nodiscard]] bool armed() noexcept;
void pass(std::string_view name);
}  // namespace detail

}  // namespace oncemark::faults

/// The only macro of this library: a fail point. The name must be listed in src/core/faults.cpp.
#define ONCEMARK_FAIL_POINT(name)                                                    \
  do {                                                                               \
    if (::oncemark::faults::detail::armed()) ::oncemark::faults::detail::pass(name); \
  } while (false)
