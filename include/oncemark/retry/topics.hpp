#pragma once

#include <string>

namespace oncemark::retry {

/// Names of the topics that failed messages travel by, from templates with {group} and {topic}.
struct TopicNames {
  std::string retry = "retry.{group}.{topic}";  // read only by the group itself
  std::string dead_letter = "dlq.{group}.{topic}";

  /// Throws ConfigError for a template without {group} or {topic}, or two that are alike.
  void validate() const;
  /// Throw PermanentError when the name would be no legal topic (over 249 bytes, other characters).
  [[nodiscard]] std::string retry_topic(const std::string& group, const std::string& topic) const;
  [[nodiscard]] std::string dead_letter_topic(const std::string& group, const std::string& topic) const;
};

}  // namespace oncemark::retry
