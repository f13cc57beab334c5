#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include <oncemark/config/settings.hpp>

namespace oncemark::config {

/// Names and values of environment variables.
using Environment = std::map<std::string, std::string, std::less<>>;

[[nodiscard]] Environment process_environment();

/// The file to read: `named` (by --config), else $ONCEMARK_CONFIG, else the first that exists of ./oncemark.toml,
/// $XDG_CONFIG_HOME/oncemark/oncemark.toml ($HOME/.config when unset) and /etc/oncemark/oncemark.toml.
[[nodiscard]] std::optional<std::filesystem::path> find_file(const std::optional<std::filesystem::path>& named,
                                                             const Environment& environment);

/// Reads the file that find_file() names, then the environment, which overrides it.
///
/// Shape:   TOML: sections [mysql], [kafka], [redis], [relay], [topics], [retention], [watchdog],
///          [reconcile]; durations are text with a unit ("200ms", "5s", "10m", "2h", "7d"). Every key has a variable ONCEMARK_SECTION__NAME; lists there are separated by commas,
///          kafka.properties by semicolons (a=b;c=d). A relative path in the file starts at the file's folder.
/// Threads: any; reads files.
/// Errors:  ConfigError: for an unknown key with its line, column and the nearest known key; for a value of the wrong
///          type or outside its range; for a password that does not stand in a file of its own; for a named file that
///          cannot be read. Values of secrets are never quoted.
[[nodiscard]] Settings load(const std::optional<std::filesystem::path>& named = {},
                            const Environment& environment = process_environment());

/// One setting as it takes effect.
struct Shown {
  std::string key = {};     // section.name
  std::string value = {};   // as it would stand in a file; secrets as ***
  std::string origin = {};  // "oncemark.toml line 3, column 1", "environment variable …" or "default"
};

/// Every setting there is, by name.
///
/// Shape:   passwords are in files of their own and never read here; properties of librdkafka that may hold one are
///          masked.
[[nodiscard]] std::vector<Shown> show(const Settings& settings);

}  // namespace oncemark::config
