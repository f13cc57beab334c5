#include <oncemark/core/error.hpp>
#include <oncemark/message/names.hpp>

#include "transactional_fixture.hpp"

namespace oncemark::transactional {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class SenderTest : public TransactionalTest {
 protected:
  SenderTest() { pool_.acquire()->control("CREATE TABLE sale (id VARCHAR(20) PRIMARY KEY) ENGINE=InnoDB"); }
  static std::function<void(mysql::Transaction&)> sale(const std::string& id) {
    return [id](mysql::Transaction& tx) { tx.execute("INSERT INTO sale VALUES (?)", id); };
  }
};

TEST_F(SenderTest, SendsTheHalfFirstAndTheMessageAfterTheCommit) {
  {
    const auto sender = make_sender();
    EXPECT_EQ(sender->send(draft("m-1"),
                           [&](mysql::Transaction& tx) {
                             sale("1")(tx);
                             EXPECT_EQ(producer_side_.acked().at(0).topic, "half.shop");
                             EXPECT_TRUE(sent(producer_side_).empty()) << "before the commit";
                           }),
              "m-1");
    EXPECT_TRUE(eventually(5s, [&] { return state_of("m-1") == "sent"; }));
  }
  EXPECT_THAT(sent(producer_side_), ElementsAre("p-m-1"));
  EXPECT_EQ(producer_side_.acked().at(1).headers.text(names::kMessageId), "m-1");
  EXPECT_EQ(count("sale"), 1u);
}

TEST_F(SenderTest, SendsNothingForATransactionThatRollsBack) {
  const auto sender = make_sender();

  EXPECT_THROW(sender->send(draft("m-1"),
                            [&](mysql::Transaction& tx) {
                              sale("1")(tx);
                              throw PermanentError("sold out");
                            }),
               PermanentError);

  EXPECT_EQ(state_of("m-1"), "none");
  EXPECT_EQ(count("sale"), 0u);
  EXPECT_TRUE(sent(producer_side_).empty());
}

TEST_F(SenderTest, BeginsNoTransactionWithoutAnAckOfTheHalf) {
  producer_side_.answer_topic("half.shop", Answer::silence);
  SenderOptions options = sender_options();
  options.half_timeout = 50ms;
  const auto sender = make_sender(options);

  EXPECT_THROW(sender->send(draft("m-1"), sale("1")), UnavailableError);
  producer_side_.answer_topic("half.shop", Answer::refuse_topic);
  EXPECT_THROW(sender->send(draft("m-2"), sale("2")), MisuseError);

  EXPECT_EQ(count("sale"), 0u);
}

TEST_F(SenderTest, RefusesATransactionThatTheCheckBackHasGivenUp) {
  pool_.transact([](mysql::Transaction& tx) {
    tx.execute("INSERT INTO local_transaction VALUES ('m-1', 'shop', 'rolled_back', UTC_TIMESTAMP(6))");
  });
  const auto sender = make_sender();

  try {
    sender->send(draft("m-1"), sale("1"));
    ADD_FAILURE() << "it was sent";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::transient);
    EXPECT_THAT(error.what(), HasSubstr("given up"));
  }
  EXPECT_EQ(count("sale"), 0u);
}

TEST_F(SenderTest, RefusesAnIdThatWasSentBefore) {
  const auto sender = make_sender();
  sender->send(draft("m-1"), sale("1"));

  EXPECT_THROW(sender->send(draft("m-1"), sale("2")), PermanentError);

  EXPECT_EQ(count("sale"), 1u);
}

TEST_F(SenderTest, RefusesATransactionThatBeginsTooLate) {
  producer_side_.answer_topic("half.shop", Answer::silence);
  SenderOptions options = sender_options();
  options.start_within = 20ms;
  const auto sender = make_sender(options);
  std::jthread broker([this] {
    EXPECT_TRUE(eventually(5s, [&] { return producer_side_.in_flight() == 1; }));
    std::this_thread::sleep_for(100ms);  // the time that is too long
    producer_side_.answer_topic("half.shop", Answer::ack);
  });

  try {
    sender->send(draft("m-1"), sale("1"));
    ADD_FAILURE() << "it was sent";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::transient);
    EXPECT_THAT(error.what(), HasSubstr("start_within"));
  }
  EXPECT_EQ(count("sale"), 0u);
}

TEST_F(SenderTest, RefusesADraftThatOnlyTheOutboxCouldSend) {
  const auto sender = make_sender();
  outbox::Draft late = draft("m-1");
  late.delay = 1s;

  EXPECT_THROW(sender->send(late, sale("1")), PermanentError);
  EXPECT_THROW(sender->send({.topic = "no topic"}, sale("1")), PermanentError);

  EXPECT_EQ(producer_side_.handed_over_count(), 0u);
}

TEST_F(SenderTest, ServesManyThreadsAtOnce) {
  {
    const auto sender = make_sender();
    std::vector<std::jthread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&, t] {
        for (int i = 0; i < 25; ++i) {
          const std::string id = std::to_string(t) + "-" + std::to_string(i);
          sender->send(draft(id), sale(id));
        }
      });
    }
    threads.clear();
    EXPECT_EQ(sender->counts().halves, 100u);
    EXPECT_TRUE(eventually(5s, [&] { return sender->counts().sent == 100; }));
  }
  EXPECT_EQ(count("local_transaction WHERE state = 'sent'"), 100u);
  EXPECT_EQ(count("sale"), 100u);
  EXPECT_EQ(sent(producer_side_).size(), 100u);
}

}  // namespace
}  // namespace oncemark::transactional
