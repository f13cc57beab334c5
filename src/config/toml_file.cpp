#include "config/toml_file.hpp"

#include <cerrno>
#include <fstream>
#include <sstream>
#include <string_view>
#include <system_error>
#include <utility>

#include <oncemark/core/error.hpp>

namespace oncemark::config {
namespace {

namespace fs = std::filesystem;

std::string content_of(const fs::path& file, const std::string& option, const std::string& what) {
  errno = 0;
  std::ifstream stream(file, std::ios::binary);
  if (stream && fs::is_directory(file)) errno = EISDIR;  // opening one succeeds
  std::ostringstream text;
  if (stream && errno == 0) text << stream.rdbuf();
  if (errno != 0 || !stream) {
    throw ConfigError(option,
                      "cannot read the " + what + " " + file.string() + ": " + std::generic_category().message(errno));
  }
  return std::move(text).str();
}

/// What the parser expected. Never what it saw, which may be a part of a secret.
std::string reason(const toml::parse_error& error) {
  constexpr std::string_view kLead = "Error while parsing ";
  std::string_view text = error.description();
  if (text.starts_with(kLead)) text.remove_prefix(kLead.size());
  return std::string(text.substr(0, text.find(", saw ")));
}

}  // namespace

toml::table read_toml(const fs::path& file, const std::string& option, const std::string& what) {
  const std::string text = content_of(file, option, what);
  try {
    return toml::parse(text, file.string());
  } catch (const toml::parse_error& error) {
    throw ConfigError(option, "invalid TOML at " + file.string() + " line " +
                                  std::to_string(error.source().begin.line) + ", column " +
                                  std::to_string(error.source().begin.column) + ": " + reason(error));
  }
}

}  // namespace oncemark::config
