#include <oncemark/retry/topics.hpp>

#include <string_view>

#include <oncemark/core/error.hpp>

namespace oncemark::retry {
namespace {

constexpr std::size_t kMaxTopic = 249;  // Kafka's limit

void check_template(const char* key, const std::string& text) {
  for (const std::string_view part : {"{group}", "{topic}"}) {
    if (text.find(part) == std::string::npos) {
      throw ConfigError(key, std::string(key) + " is \"" + text + "\" and lacks " + std::string(part) +
                                 ": groups or topics would share it");
    }
  }
}

void replace(std::string& text, std::string_view part, const std::string& value) {
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + value.size())) {
    text.replace(at, part.size(), value);
  }
}

std::string expand(std::string name, const std::string& group, const std::string& topic) {
  // One pass per placeholder; a group named "{topic}" cannot exist, because '{' is no legal character.
  replace(name, "{group}", group);
  replace(name, "{topic}", topic);
  bool is_legal = !name.empty() && name.size() <= kMaxTopic;
  for (const char c : name) {
    is_legal = is_legal && ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
                            c == '_' || c == '-');
  }
  if (!is_legal) {
    throw PermanentError("\"" + name + "\" cannot be a Kafka topic: 1 to " + std::to_string(kMaxTopic) +
                         " characters of A-Z a-z 0-9 . _ - are allowed; choose another template, group or topic");
  }
  return name;
}

}  // namespace

void TopicNames::validate() const {
  check_template("topics.retry", retry);
  check_template("topics.dead_letter", dead_letter);
  if (retry == dead_letter) {
    throw ConfigError("topics.dead_letter", "topics.retry and topics.dead_letter are both \"" + retry +
                                                "\": dead letters would be retried for ever");
  }
}

std::string TopicNames::retry_topic(const std::string& group, const std::string& topic) const {
  return expand(retry, group, topic);
}

std::string TopicNames::dead_letter_topic(const std::string& group, const std::string& topic) const {
  return expand(dead_letter, group, topic);
}

}  // namespace oncemark::retry
