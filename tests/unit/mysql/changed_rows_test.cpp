#include "mysql/changed_rows.hpp"

#include <gtest/gtest.h>

#include <oncemark/core/error.hpp>
#include <oncemark/testing/recording_session.hpp>

namespace oncemark::mysql {
namespace {

TEST(ChangedRows, AreWhatTheServerMustCount) {
  testing::RecordingSession session;
  session.will_affect("UPDATE oncemark_schema", 0);

  EXPECT_NO_THROW(require_changed_rows(session));
  EXPECT_EQ(session.texts().back(), "ROLLBACK");
}

TEST(ChangedRows, AreNotWhatAProxyThatCountsFoundRowsReports) {
  testing::RecordingSession session;
  session.will_affect("UPDATE oncemark_schema", 1);

  EXPECT_THROW(require_changed_rows(session), MisuseError);
}

}  // namespace
}  // namespace oncemark::mysql
