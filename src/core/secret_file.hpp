#pragma once

#include <string>

namespace oncemark {

/// The one line of a file that holds a password; its end of line is not part of it.
///
/// Errors:  ConfigError under `setting` when the file cannot be read, is empty, or has more than one line. The text
///          names the file and never its contents.
[[nodiscard]] std::string read_secret_file(const std::string& setting, const std::string& path);

}  // namespace oncemark
