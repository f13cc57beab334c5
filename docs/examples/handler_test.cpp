// Unit tests of a service's handler, without a server: what does it write, and what if the process dies in between?
#include <gtest/gtest.h>

#include <oncemark/inbox/dedup.hpp>
#include <oncemark/mysql/deferred.hpp>
#include <oncemark/testing/builders.hpp>
#include <oncemark/testing/crash_points.hpp>
#include <oncemark/testing/memory_store.hpp>
#include <oncemark/testing/recording_session.hpp>

namespace om = oncemark;

namespace {

// The handler under test, as the service has it.
void reserve(const om::Message& order, om::mysql::Transaction& tx) {
  const auto left = tx.query_row("SELECT pieces FROM stock WHERE product = ? FOR UPDATE", order.key);
  if (!left || left->get<int>("pieces") == 0) throw om::PermanentError("sold out");
  tx.execute("UPDATE stock SET pieces = pieces - 1 WHERE product = ?", order.key);
}

// [deferred]
// Made once; what belongs to them goes out together, for all messages of a transaction.
const auto kTake = om::mysql::DeferredStatement::update(
    "UPDATE stock AS s JOIN {rows} AS v ON s.product = v.product SET s.pieces = s.pieces - v.taken",
    {"product", "taken"}, 1);
const auto kBook = om::mysql::DeferredStatement::insert("INSERT INTO booking (order_id, product)");

void book(const om::Message& order, om::mysql::Transaction& tx) {
  tx.defer(kTake, order.key, 1);  // several of one product are added up
  tx.defer(kBook, order.id, order.key);
}
// [deferred]

TEST(Book, SendsTheRowsOfSeveralOrdersTogether) {
  om::testing::RecordingSession session;
  om::mysql::UnitOfWork unit(session);

  for (const char* id : {"order-1", "order-2"}) book(om::testing::message_with_id(id), unit.tx());
  unit.commit();

  EXPECT_EQ(session.texts()[2], "INSERT INTO booking (order_id, product) VALUES (?, ?), (?, ?)");
}

// [effect]
TEST(Reserve, TakesOnePieceOfWhatIsLeft) {
  om::testing::RecordingSession session;
  session.will_return("FROM stock", om::testing::rows({"pieces"}, {{std::int64_t{3}}}));
  om::mysql::UnitOfWork unit(session);

  reserve(om::testing::message_with_id("order-1"), unit.tx());

  EXPECT_EQ(session.texts().back(), "UPDATE stock SET pieces = pieces - 1 WHERE product = ?");
}
// [effect]

// [crash]
TEST(Reserve, TakesEffectOnceWhereverTheProcessDies) {
  for (const auto point : om::testing::kConsumerCrashPoints) {
    om::testing::MemoryStore store;
    int effects = 0;
    om::inbox::Dedup dedup{store,
                           {.consumer = "stock", .effects = om::Effects::transaction},
                           [&](const om::Message&, om::mysql::Transaction& tx) {
                             tx.execute("UPDATE stock SET pieces = pieces - 1");
                             tx.after_commit([&] { ++effects; });
                           }};
    const om::Message order = om::testing::message_with_id("order-1");
    {
      const om::testing::CrashAt crash(point);
      EXPECT_ANY_THROW((void)dedup.handle(order));
    }

    (void)dedup.handle(order);  // Kafka delivers it again

    EXPECT_EQ(effects, 1) << "after a crash at " << point;
    EXPECT_TRUE(store.is_marked("stock", "order-1"));
  }
}
// [crash]

}  // namespace
