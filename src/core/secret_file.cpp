#include "core/secret_file.hpp"

#include <cerrno>
#include <fstream>
#include <sstream>
#include <system_error>
#include <utility>

#include <oncemark/core/error.hpp>

namespace oncemark {

std::string read_secret_file(const std::string& setting, const std::string& path) {
  const auto reject = [&](const std::string& why) {
    throw ConfigError(setting,
                      setting + " " + path + " " + why + "; it must be a file with one line that this user may read");
  };
  std::ifstream file(path, std::ios::binary);
  if (!file) reject("cannot be opened: " + std::generic_category().message(errno));
  std::ostringstream text;
  text << file.rdbuf();
  std::string secret = std::move(text).str();
  if (secret.ends_with('\n')) secret.pop_back();
  if (secret.ends_with('\r')) secret.pop_back();
  if (secret.empty() || secret.starts_with('\n')) reject("is empty or not a file");
  if (secret.find('\n') != std::string::npos) reject("has more than one line");
  return secret;
}

}  // namespace oncemark
