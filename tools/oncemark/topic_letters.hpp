#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "program.hpp"

namespace oncemark::tools {

/// Flags by which a verb works on a dead-letter topic instead of the table of letters, whoever wrote the topic.
struct FromTopicFlags {
  std::string topic = {};
  std::vector<std::int32_t> partitions = {};
  std::string to = {};
  std::vector<std::string> allowed = {};

  void add_to(CLI::App& verb);
  void add_targets_to(CLI::App& verb);
  [[nodiscard]] bool is_set() const { return !topic.empty(); }
};

struct TopicRun {
  FromTopicFlags from = {};
  std::optional<std::uint64_t> limit = {};
  std::uint64_t max_replays = 2;
  double rate = 0;
  std::string reason = {};
  std::string operator_name = {};
  std::optional<std::string> confirm = {};
  std::optional<std::uint64_t> resume = {};
  bool dry_run = false;
  bool yes = false;
  bool fail_if_empty = false;
};

/// The newest `limit` records, by partition in the order of the log. Needs no database.
[[nodiscard]] int list_of_topic(const Globals& globals, const FromTopicFlags& from, std::uint64_t limit);
/// One record, by "partition/offset", with what a pointer points to. Needs no database.
[[nodiscard]] int show_of_topic(const Globals& globals, const FromTopicFlags& from, const std::string& reference,
                                std::size_t payload_limit, bool raw);
/// Replays the records that lie there now, in the order of each partition.
[[nodiscard]] int replay_topic(const Globals& globals, const TopicRun& run);

}  // namespace oncemark::tools
