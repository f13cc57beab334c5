#include "arguments.hpp"

#include <charconv>

#include <oncemark/core/error.hpp>

namespace demo {

using oncemark::MisuseError;

Arguments::Arguments(int argc, char** argv, const std::set<std::string>& options, const std::set<std::string>& flags) {
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if (!word.starts_with("--")) {
      words_.push_back(word);
    } else if (flags.contains(word)) {
      values_[word];
    } else if (!options.contains(word)) {
      throw MisuseError("there is no option " + word);
    } else if (i + 1 == argc) {
      throw MisuseError(word + " needs a value");
    } else {
      values_[word] = argv[++i];
    }
  }
}

std::string Arguments::text(const std::string& option) const {
  const auto found = values_.find(option);
  if (found == values_.end()) throw MisuseError(option + " is required");
  return found->second;
}

std::uint64_t Arguments::number(const std::string& option, std::uint64_t otherwise) const {
  if (!has(option)) return otherwise;
  const std::string value = text(option);
  std::uint64_t number = 0;
  const char* end = value.data() + value.size();
  const auto [stopped_at, error] = std::from_chars(value.data(), end, number);
  if (error != std::errc{} || stopped_at != end) throw MisuseError(option + " is no number: " + value);
  return number;
}

}  // namespace demo
