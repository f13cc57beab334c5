#pragma once

#include <string_view>

namespace oncemark {

inline constexpr std::string_view kVersion = "0.1.0";
/// The library version as one number, for the rule "this schema needs at least library X": major·10000 + minor·100 + patch.
inline constexpr int kVersionNumber = 100;
/// The newest schema migration that this library knows; a database below it is asked to migrate.
inline constexpr int kSchemaVersion = 11;

}  // namespace oncemark
