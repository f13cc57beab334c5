// The fuzz targets over their corpora and over mutations of them, always the same ones.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "fuzz/targets.hpp"

namespace oncemark::fuzz {
namespace {

struct Target {
  const char* name;
  void (*feed)(std::string_view);
  int mutations;
};

class FuzzTarget : public ::testing::TestWithParam<Target> {
 protected:
  static std::vector<std::string> corpus() {
    std::vector<std::string> inputs;
    for (const auto& entry :
         std::filesystem::directory_iterator(std::filesystem::path(ONCEMARK_CORPUS) / GetParam().name)) {
      std::ostringstream text;
      text << std::ifstream(entry.path(), std::ios::binary).rdbuf();
      inputs.push_back(text.str());
    }
    std::sort(inputs.begin(), inputs.end());
    return inputs;
  }
};

/// Some bytes changed, moved, repeated, taken away, or joined with those of another input.
std::string mutate(std::string bytes, const std::vector<std::string>& others, std::mt19937_64& random) {
  const auto below = [&](std::size_t limit) { return limit == 0 ? 0 : random() % limit; };
  for (std::size_t changes = 1 + below(4); changes > 0; --changes) {
    const std::size_t at = below(bytes.size() + 1);
    const std::size_t count = below(std::min<std::size_t>(bytes.size() - at, 16) + 1);
    switch (below(5)) {
      case 0:
        bytes.insert(at, 1, static_cast<char>(below(256)));
        break;
      case 1:
        bytes.erase(at, count);
        break;
      case 2:
        if (at < bytes.size()) bytes[at] = static_cast<char>(static_cast<unsigned char>(bytes[at]) ^ (1u << below(8)));
        break;
      case 3:
        bytes.insert(below(bytes.size() + 1), bytes.substr(at, count));
        break;
      default: {
        const std::string& other = others[below(others.size())];
        bytes = bytes.substr(0, at) + other.substr(below(other.size() + 1));
      }
    }
  }
  return bytes;
}

TEST_P(FuzzTarget, KeepsItsPromisesOverItsCorpusAndMutationsOfIt) {
  const std::vector<std::string> inputs = corpus();
  ASSERT_FALSE(inputs.empty());
  for (const std::string& input : inputs) GetParam().feed(input);
  std::mt19937_64 random(1);
  for (int i = 0; i < GetParam().mutations; ++i) {
    const std::string input = mutate(inputs[random() % inputs.size()], inputs, random);
    SCOPED_TRACE(::testing::PrintToString(input));
    GetParam().feed(input);
  }
}

std::vector<Target> targets() {
  std::vector<Target> all{{"headers", headers, 20'000}, {"json", json, 20'000},    {"config", config, 2'000},
                          {"foreign", foreign, 20'000}, {"binlog", binlog, 5'000}, {"document", document, 20'000}};
#ifdef ONCEMARK_HAS_TOOLS
  all.push_back({"filters", filters, 20'000});
#endif
  return all;
}

INSTANTIATE_TEST_SUITE_P(BadInput, FuzzTarget, ::testing::ValuesIn(targets()),
                         [](const auto& test) { return std::string(test.param.name); });

}  // namespace
}  // namespace oncemark::fuzz
