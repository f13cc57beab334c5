#pragma once

#include <atomic>
#include <cstdint>
#include <string>

#include <oncemark/observe/metrics.hpp>

namespace demo {

/// What became of the deliveries, kept in a file that outlives the process: also one that was killed.
///
/// Shape:   a mapped file of 64-bit numbers of this machine, one an Outcome, in their order; made when missing.
/// Threads: any.
/// Errors:  the constructor throws oncemark::MisuseError naming the file.
class CounterFile final : public oncemark::Metrics {
 public:
  enum Outcome : std::size_t { done, duplicate, retrying, dead, settled_elsewhere, kOutcomes };

  explicit CounterFile(const std::string& path);
  ~CounterFile() override;
  CounterFile(const CounterFile&) = delete;
  CounterFile& operator=(const CounterFile&) = delete;

  void count(std::string_view name, const oncemark::Labels& labels, double amount) noexcept override;
  void gauge(std::string_view, const oncemark::Labels&, double) noexcept override {}
  void observe(std::string_view, const oncemark::Labels&, double) noexcept override {}

 private:
  std::atomic<std::uint64_t>* counters_;
};

}  // namespace demo
