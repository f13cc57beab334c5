// Random schedules of failures, redeliveries, zombies, crashes and operators, on the library's own code over a database
// in memory: every message is in exactly one state, its letters are one a life, its effect is one.
#include <cstdlib>

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <oncemark/observe/log.hpp>

#include "support/failure_schedule.hpp"
#include "support/ordered_schedule.hpp"
#include "unit/failure_path/memory_server.hpp"

namespace rc {

template <>
struct Arbitrary<oncemark::testing::Step> {
  static Gen<oncemark::testing::Step> arbitrary() {
    using oncemark::testing::Step;
    // Records come more often than operators do.
    return gen::build<Step>(gen::set(&Step::kind, gen::weightedElement<Step::Kind>({{6, Step::deliver},
                                                                                    {8, Step::redeliver},
                                                                                    {4, Step::route},
                                                                                    {8, Step::relay},
                                                                                    {3, Step::replay},
                                                                                    {2, Step::look},
                                                                                    {1, Step::cancel},
                                                                                    {1, Step::expedite},
                                                                                    {1, Step::skip},
                                                                                    {2, Step::watch}})),
                            gen::set(&Step::which, gen::inRange(0u, 60u)), gen::set(&Step::how, gen::inRange(0u, 12u)),
                            gen::set(&Step::outcome, gen::inRange(0u, 216u)),
                            gen::set(&Step::crash, gen::inRange(0u, 32u)));
  }
};

template <>
struct Arbitrary<oncemark::testing::OrderedStep> {
  static Gen<oncemark::testing::OrderedStep> arbitrary() {
    using oncemark::testing::OrderedStep;
    return gen::build<OrderedStep>(
        gen::set(&OrderedStep::kind, gen::weightedElement<OrderedStep::Kind>({{8, OrderedStep::deliver},
                                                                              {10, OrderedStep::drive},
                                                                              {2, OrderedStep::route},
                                                                              {2, OrderedStep::pass_time},
                                                                              {2, OrderedStep::replay},
                                                                              {1, OrderedStep::skip}})),
        gen::set(&OrderedStep::which, gen::inRange(0u, 60u)), gen::set(&OrderedStep::how, gen::inRange(0u, 336u)),
        gen::set(&OrderedStep::outcome, gen::inRange(0u, 1296u)), gen::set(&OrderedStep::crash, gen::inRange(0u, 12u)));
  }
};

}  // namespace rc

namespace oncemark::testing {
namespace {

TEST(FailureSchedules, LeaveEachMessageInOneStateWithOneLetterALifeAndOneEffect) {
  set_log_level(LogLevel::error);
  ::setenv("RC_PARAMS", "max_success=3000", /*overwrite=*/0);
  MemoryServer server;
  mysql::Pool pool(MemoryServer::options());
  EXPECT_TRUE(rc::check("the tables are as the model says, step by step", [&] {
    const auto steps = *rc::gen::arbitrary<std::vector<Step>>();
    server.clear();
    FailureSchedule schedule(pool);
    for (const Step& step : steps) schedule.take(step);
    schedule.finish();
  }));
}

class OrderedSchedules : public ::testing::TestWithParam<retry::OnDead> {};

TEST_P(OrderedSchedules, KeepTheOrderOfEachKeyAndBringEachMessageToOneEnd) {
  set_log_level(LogLevel::error);
  ::setenv("RC_PARAMS", "max_success=500", /*overwrite=*/0);
  MemoryServer server;
  mysql::Pool pool(MemoryServer::options());
  EXPECT_TRUE(rc::check("the tables say one thing, step by step", [&] {
    const auto steps = *rc::gen::arbitrary<std::vector<OrderedStep>>();
    server.clear();
    OrderedSchedule schedule(pool, GetParam());
    for (const OrderedStep& step : steps) schedule.take(step);
    schedule.finish();
  }));
}

INSTANTIATE_TEST_SUITE_P(OnDead, OrderedSchedules,
                         ::testing::Values(retry::OnDead::stop_key, retry::OnDead::continue_key),
                         [](const auto& on_dead) {
                           return std::string(on_dead.param == retry::OnDead::stop_key ? "StopKey" : "ContinueKey");
                         });

}  // namespace
}  // namespace oncemark::testing
