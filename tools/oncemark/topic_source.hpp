#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include <oncemark/config/settings.hpp>
#include <oncemark/dead_letter/foreign.hpp>
#include <oncemark/kafka/log_reader.hpp>

#include "output.hpp"

namespace oncemark::tools {

/// A dead-letter topic as a command sees it.
class TopicSource {
 public:
  explicit TopicSource(const config::Settings& settings) : settings_(settings) {}

  [[nodiscard]] std::vector<kafka::LogRange> ranges(const std::string& topic,
                                                    const std::vector<std::int32_t>& partitions = {}) const;
  [[nodiscard]] kafka::LogReader reader(std::vector<kafka::LogRange> ranges) const;
  /// The record at a position; nothing when it is not in the log any more.
  [[nodiscard]] std::optional<Record> find(const Position& position) const;
  /// The record that a pointer stands for; nothing when it is gone, or the pointer does not say where it lies.
  [[nodiscard]] std::optional<Record> behind(const dead_letter::Provenance& pointer) const;

 private:
  const config::Settings& settings_;
};

[[nodiscard]] Json provenance_json(const dead_letter::Provenance& provenance);

}  // namespace oncemark::tools
