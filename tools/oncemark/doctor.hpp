#pragma once

#include <functional>
#include <string>
#include <vector>

#include <oncemark/config/settings.hpp>

namespace oncemark::tools {

/// What `oncemark doctor` found out, line by line.
class Findings {
 public:
  enum class Level { ok, warn, fail };
  struct Line {
    Level level;
    std::string area;   // config, mysql, kafka, redis
    std::string check;  // "clock skew"
    std::string text;
    std::string cure;  // a command, or what to change where; empty: nothing to do
  };

  explicit Findings(std::function<void(const Line&)> show) : show_(std::move(show)) {}

  void ok(const std::string& check, const std::string& text) { add({Level::ok, area_, check, text, {}}); }
  void warn(const std::string& check, const std::string& text, const std::string& cure) {
    add({Level::warn, area_, check, text, cure});
  }
  void fail(const std::string& check, const std::string& text, const std::string& cure) {
    add({Level::fail, area_, check, text, cure});
  }
  void begin(const std::string& area) { area_ = area; }
  /// Runs one check; what it throws is a failure of that check, and the next one is made all the same.
  bool attempt(const std::string& check, const std::string& cure, const std::function<void()>& work);

  [[nodiscard]] std::size_t count(Level level) const { return counts_[static_cast<std::size_t>(level)]; }

 private:
  void add(const Line& line) {
    ++counts_[static_cast<std::size_t>(line.level)];
    show_(line);
  }

  std::function<void(const Line&)> show_;
  std::string area_;
  std::size_t counts_[3] = {0, 0, 0};
};

void examine_config(const config::Settings& settings, Findings& findings);
/// The topics that rows of the outbox and letters name, for examine_kafka().
struct KnownTopics {
  struct Failing {
    std::string group;
    std::string topic;
  };
  std::vector<std::string> sent;
  std::vector<Failing> failing;  // groups, and topics whose messages they failed at
};
KnownTopics examine_mysql(const config::Settings& settings, Findings& findings);
void examine_kafka(const config::Settings& settings, const KnownTopics& topics, Findings& findings);
void examine_redis(const config::Settings& settings, Findings& findings);

}  // namespace oncemark::tools
