#pragma once

#include <filesystem>
#include <string>

#include <toml++/toml.h>

namespace oncemark::config {

/// What is in a TOML file; `what` names it in errors, as in "configuration file".
///
/// Threads: any; reads a file.
/// Errors:  ConfigError of `option` when it cannot be read or is no TOML, then with line and column. It quotes nothing of
///          the file, which may hold secrets.
[[nodiscard]] toml::table read_toml(const std::filesystem::path& file, const std::string& option,
                                    const std::string& what);

}  // namespace oncemark::config
