#pragma once

#include <memory>
#include <string>
#include <string_view>

namespace oncemark::tools {

/// A jq program that says yes or no to JSON documents.
///
/// Threads: one.
class JqFilter {
 public:
  /// Throws UsageError with jq's own complaint.
  explicit JqFilter(const std::string& program);
  ~JqFilter();
  JqFilter(const JqFilter&) = delete;
  JqFilter& operator=(const JqFilter&) = delete;

  /// Whether the program's first result for `document` is neither false nor null. No result is a no, and so is an error;
  /// the first error is told on standard error.
  [[nodiscard]] bool accepts(std::string_view document);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace oncemark::tools
