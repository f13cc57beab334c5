#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace oncemark {

/// Label names and values of a metric.
using Labels = std::vector<std::pair<std::string_view, std::string>>;

/// Where counts go. The default does nothing.
///
/// Threads: implementations must be safe from any thread and cheap: they are called once per group of messages.
/// Errors:  must not throw.
class Metrics {
 public:
  virtual ~Metrics() = default;
  virtual void count(std::string_view name, const Labels& labels, double amount) noexcept = 0;
  virtual void gauge(std::string_view name, const Labels& labels, double value) noexcept = 0;
  virtual void observe(std::string_view name, const Labels& labels, double value) noexcept = 0;

  /// Metrics that go nowhere.
  [[nodiscard]] static Metrics& none() noexcept;
};

}  // namespace oncemark
