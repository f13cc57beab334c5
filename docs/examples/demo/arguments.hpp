#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

namespace demo {

/// The command line of a demo program: --name VALUE pairs, --name flags, and words.
///
/// Errors:  oncemark::MisuseError for an option that is not listed, a missing value, or a value that is no number.
class Arguments {
 public:
  Arguments(int argc, char** argv, const std::set<std::string>& options, const std::set<std::string>& flags = {});

  [[nodiscard]] bool has(const std::string& flag) const { return values_.contains(flag); }
  [[nodiscard]] std::string text(const std::string& option) const;  // required
  [[nodiscard]] std::uint64_t number(const std::string& option, std::uint64_t otherwise) const;
  [[nodiscard]] const std::vector<std::string>& words() const noexcept { return words_; }

 private:
  std::map<std::string, std::string> values_;
  std::vector<std::string> words_;
};

}  // namespace demo
