// The schedules of tests/unit/failure_path on a real server: some of them, so that the database in memory is known to
// do what a server does.
#include <random>

#include <gtest/gtest.h>

#include "support/failure_schedule.hpp"
#include "support/temp_schema.hpp"

namespace oncemark::testing {
namespace {

Step random_step(std::mt19937& random) {
  static constexpr std::array kKinds{Step::deliver, Step::deliver, Step::redeliver, Step::redeliver, Step::redeliver,
                                     Step::route,   Step::relay,   Step::relay,     Step::relay,     Step::replay,
                                     Step::look,    Step::cancel,  Step::expedite,  Step::skip,      Step::watch};
  return {.kind = kKinds[random() % kKinds.size()],
          .which = static_cast<unsigned>(random() % 60),
          .how = static_cast<unsigned>(random() % 12),
          .outcome = static_cast<unsigned>(random() % 216),
          .crash = static_cast<unsigned>(random() % 32)};
}

TEST(FailureSchedules, HoldOnARealServer) {
  TempSchema schema{Tables::ours};
  mysql::Pool pool(schema.options());
  pool.acquire()->control("CREATE TABLE effect (message_id VARBINARY(255) NOT NULL)");
  for (unsigned seed = 1; seed <= 12; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937 random(seed);
    for (const char* table : {"consumed_message", "failed_message", "dead_letter", "outbox_message", "effect"}) {
      pool.transact([&](mysql::Transaction& tx) { tx.execute("DELETE FROM " + std::string(table)); });
    }
    FailureSchedule schedule(pool);
    for (int i = 0; i < 40; ++i) schedule.take(random_step(random));
    schedule.finish();
  }
}

}  // namespace
}  // namespace oncemark::testing
