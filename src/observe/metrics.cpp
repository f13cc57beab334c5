#include <oncemark/observe/metrics.hpp>

namespace oncemark {
namespace {

class NoMetrics final : public Metrics {
 public:
  void count(std::string_view, const Labels&, double) noexcept override {}
  void gauge(std::string_view, const Labels&, double) noexcept override {}
  void observe(std::string_view, const Labels&, double) noexcept override {}
};

}  // namespace

Metrics& Metrics::none() noexcept {
  static NoMetrics& nothing = *new NoMetrics;  // outlives every user, also those in destructors of statics
  return nothing;
}

}  // namespace oncemark
