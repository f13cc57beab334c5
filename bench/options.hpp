#pragma once

#include <cstddef>
#include <cstdlib>
#include <iostream>
#include <string>
#include <string_view>
#include <vector>

namespace bench {

/// What the programs that consume take on their command line; tools/bench hands it through.
struct RunOptions {
  std::string workload = {};
  bool batch = false;       // the handler that gets all fresh messages of a transaction
  bool deferred = false;    // a handler a message, whose writes are sent together
  bool is_fixed = false;    // groups of max_group, whatever they cost
  bool is_ordered = false;  // retries keep the order of a key; dead messages let it go on
  std::size_t max_group = 128;
  std::size_t workers = 8;
  std::string hint = {};  // "memory", the URL of a Redis, or none
};

/// Ends the program with exit code 2 when a word is wrong.
[[nodiscard]] inline RunOptions parse_options(int argc, char** argv) {
  const std::vector<std::string_view> words(argv + 1, argv + argc);
  const auto misuse = [&](const std::string& what) {
    std::cerr << argv[0] << ": " << what
              << "; usage: WORKLOAD [--batch | --deferred] [--ordered] [--workers K] "
                 "[--group adaptive|adaptive:K|fixed:K] [--hint memory|tcp://HOST:PORT]\n";
    std::exit(2);
  };
  const auto number = [&](std::string_view text, std::size_t most) -> std::size_t {
    const bool is_number =
        !text.empty() && text.size() <= 6 && text.find_first_not_of("0123456789") == std::string_view::npos;
    const std::size_t value = is_number ? std::stoul(std::string(text)) : 0;
    if (value < 1 || value > most) misuse("\"" + std::string(text) + "\" is not 1 to " + std::to_string(most));
    return value;
  };
  RunOptions options;
  for (std::size_t i = 0; i < words.size(); ++i) {
    const std::string_view word = words[i];
    const auto value = [&] {
      if (i + 1 == words.size()) misuse(std::string(word) + " needs a value");
      return words[++i];
    };
    if (word == "--batch") {
      options.batch = true;
    } else if (word == "--deferred") {
      options.deferred = true;
    } else if (word == "--ordered") {
      options.is_ordered = true;
    } else if (word == "--hint") {
      options.hint = value();
      if (options.hint != "memory" && !options.hint.starts_with("tcp://")) misuse("no such --hint: " + options.hint);
    } else if (word == "--workers") {
      options.workers = number(value(), 256);
    } else if (word == "--group") {
      const std::string_view group = value();
      const std::string_view kind = group.substr(0, group.find(':'));
      if (kind != "adaptive" && kind != "fixed") misuse("no such --group: " + std::string(group));
      options.is_fixed = kind == "fixed";
      if (group.size() > kind.size()) {
        options.max_group = number(group.substr(kind.size() + 1), 1'000);
      } else if (options.is_fixed) {
        misuse("--group fixed needs a size");
      }
    } else if (word.starts_with("-") || !options.workload.empty()) {
      misuse("no such option: " + std::string(word));
    } else {
      options.workload = word;
    }
  }
  if (options.workload.empty()) misuse("a workload is missing");
  if (options.batch && options.deferred) misuse("--batch and --deferred exclude each other");
  return options;
}

}  // namespace bench
