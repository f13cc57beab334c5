#pragma once

#include <string>
#include <vector>

#include <CLI/CLI.hpp>

namespace oncemark::tools {

// What stands in --help once more, in other forms: nothing of it is written twice.

/// A page of the manual, section 1, as roff. Of the verbs in `elsewhere` it only says that they have pages of their own:
/// pairs of a verb and the program that it is.
[[nodiscard]] std::string man_page(const CLI::App& app,
                                   const std::vector<std::pair<std::string, std::string>>& elsewhere);

/// Completion of verbs, flags and what flags take, for all of these programs in one file.
[[nodiscard]] std::string bash_completion(const std::vector<const CLI::App*>& programs);
[[nodiscard]] std::string zsh_completion(const std::vector<const CLI::App*>& programs);

}  // namespace oncemark::tools
