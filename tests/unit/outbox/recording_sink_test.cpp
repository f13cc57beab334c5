#include <oncemark/testing/recording_sink.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace oncemark::testing {
namespace {

using namespace std::chrono_literals;
using ::testing::IsEmpty;
using ::testing::SizeIs;

OutgoingRecord record(const std::string& topic, Bytes key = nullptr) {
  return {.topic = topic, .key = std::move(key), .payload = "p", .headers = {}};
}

TEST(RecordingSink, AcksWhatItIsGiven) {
  RecordingSink sink;
  EXPECT_EQ(sink.send(record("t", "k"), 7), Sent::accepted);

  const auto reports = sink.deliveries(0ms);

  ASSERT_THAT(reports, SizeIs(1));
  EXPECT_EQ(reports[0].token, 7u);
  EXPECT_EQ(reports[0].status, DeliveryStatus::acked);
  EXPECT_EQ(sink.acked().at(0).key, Bytes("k"));
}

TEST(RecordingSink, AnswersAKeyAsOftenAsItIsTold) {
  RecordingSink sink;
  sink.answer_key("k", Answer::refuse, 1);

  (void)sink.send(record("t", "k"), 1);
  EXPECT_EQ(sink.deliveries(0ms).at(0).status, DeliveryStatus::refused);
  (void)sink.send(record("t", "k"), 2);
  EXPECT_EQ(sink.deliveries(0ms).at(0).status, DeliveryStatus::acked);
}

TEST(RecordingSink, TellsANullKeyFromAnEmptyOne) {
  RecordingSink sink;
  sink.answer_key(nullptr, Answer::fail);
  (void)sink.send(record("t", nullptr), 1);
  (void)sink.send(record("t", ""), 2);

  const auto reports = sink.deliveries(0ms);

  EXPECT_EQ(reports.at(0).status, DeliveryStatus::failed);
  EXPECT_EQ(reports.at(1).status, DeliveryStatus::acked);
}

TEST(RecordingSink, ReportsSilencedRecordsOnceTheAnswerChanges) {
  RecordingSink sink;
  sink.answer_topic("lost", Answer::silence);
  (void)sink.send(record("lost"), 1);
  EXPECT_THAT(sink.deliveries(1ms), IsEmpty());

  sink.answer_topic("lost", Answer::ack);

  EXPECT_THAT(sink.deliveries(0ms), SizeIs(1));
}

TEST(RecordingSink, ForgetsWhatIsDiscarded) {
  RecordingSink sink;
  sink.answer_all(Answer::silence);
  (void)sink.send(record("t"), 1);
  sink.discard();
  sink.answer_all(Answer::ack);

  EXPECT_THAT(sink.deliveries(0ms), IsEmpty());
  EXPECT_EQ(sink.discards(), 1);
  EXPECT_THAT(sink.acked(), IsEmpty());
}

TEST(RecordingSink, RefusesABatchForOneRecordWhenAskedTo) {
  RecordingSink sink;
  sink.refuse_whole_batches();
  sink.answer_key("bad", Answer::refuse);
  (void)sink.send(record("t", "good"), 1);
  (void)sink.send(record("t", "bad"), 2);
  (void)sink.send(record("other", "good"), 3);

  const auto reports = sink.deliveries(0ms);

  EXPECT_EQ(reports.at(0).status, DeliveryStatus::refused);
  EXPECT_EQ(reports.at(1).status, DeliveryStatus::refused);
  EXPECT_EQ(reports.at(2).status, DeliveryStatus::acked);
}

TEST(RecordingSink, IsFullAtItsCapacity) {
  RecordingSink sink;
  sink.set_capacity(1);
  EXPECT_EQ(sink.send(record("t"), 1), Sent::accepted);
  EXPECT_EQ(sink.send(record("t"), 2), Sent::queue_full);

  (void)sink.deliveries(0ms);

  EXPECT_EQ(sink.send(record("t"), 2), Sent::accepted);
  EXPECT_EQ(sink.handed_over_count(), 2u);
}

}  // namespace
}  // namespace oncemark::testing
