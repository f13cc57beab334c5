#include <oncemark/observe/metrics.hpp>

#include <gtest/gtest.h>

#include <oncemark/observe/metric_names.hpp>

namespace oncemark {
namespace {

TEST(Metrics, GoNowhereByDefault) {
  Metrics& none = Metrics::none();
  none.count(metric::kConsumed, {{"consumer", "shipping"}, {"outcome", "done"}}, 1);
  none.gauge(metric::kInFlight, {}, 3);
  none.observe("oncemark_consume_handler_seconds", {}, 0.25);

  EXPECT_EQ(&Metrics::none(), &none);
}

}  // namespace
}  // namespace oncemark
