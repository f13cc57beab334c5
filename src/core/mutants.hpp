#pragma once

#ifdef ONCEMARK_MUTANTS
#include <cstdlib>
#endif
#include <string_view>

namespace oncemark {

/// Whether a protection is switched off, so that tools/torture can show that its checker would notice.
///
/// Shape:   the one that ONCEMARK_MUTANT names, in a build with the CMake option ONCEMARK_MUTANTS (preset dev). In any
///          other build it is false at compile time: nothing in the environment of a service makes it lose messages.
/// Source:  tests/torture/mutants.py has one entry per name; tools/lint/check_docs.py compares the two.
#ifdef ONCEMARK_MUTANTS
inline bool has_mutant(std::string_view name) noexcept {
  static const char* const chosen = std::getenv("ONCEMARK_MUTANT");
  return chosen != nullptr && name == chosen;
}
#else
constexpr bool has_mutant(std::string_view) noexcept { return false; }
#endif

}  // namespace oncemark
