// Records that nobody wished for, through the real consumer side: nothing is lost, and every byte stays.
#include <gmock/gmock.h>

#include <oncemark/dead_letter/replay.hpp>

#include "integration/loop/consumer_fixture.hpp"

namespace oncemark {
namespace {

class BadInput : public ConsumerTest {
 protected:
  BadInput() {
    create(
        "seen (id BIGINT AUTO_INCREMENT PRIMARY KEY, message_id VARBINARY(320), message_key BLOB, payload LONGBLOB, "
        "headers BLOB)");
  }

  void send(OutgoingRecord record) const { testing::send_records(topic_, {std::move(record)}); }

  /// Runs a consumer until `is_enough`, then stops it; throws what it threw.
  template <typename Predicate>
  void consume_until(Predicate is_enough,
                     inbox::DedupOptions options = {.consumer = "shipping", .effects = Effects::transaction}) {
    Running running(*this, {.effect =
                                [](const Message& message, mysql::Transaction& tx) {
                                  tx.execute(
                                      "INSERT INTO seen (message_id, message_key, payload, headers) "
                                      "VALUES (?, ?, ?, ?)",
                                      message.id, message.key, message.payload, encode_headers(message.headers));
                                },
                            .once = std::move(options)});
    EXPECT_TRUE(eventually(20s, [&] { return running.has_ended() || is_enough(); }));
    running.stop();
  }
};

TEST_F(BadInput, KeepsNullEmptyAndZeroBytesApart) {
  Headers headers = with_id("null-key");
  headers.append("zero", std::string("\0a\0", 3));
  headers.append("empty", "");
  headers.append("null", nullptr);
  send({.key = nullptr, .payload = "", .headers = headers});
  send({.key = "", .payload = nullptr, .headers = with_id("empty-key")});
  send({.key = std::string("\0\xff", 2), .payload = std::string("\0", 1), .headers = with_id("binary")});

  consume_until([&] { return count("SELECT COUNT(*) FROM seen") == 3; });

  const auto null_key = row("SELECT message_key, payload, headers FROM seen WHERE message_id = 'null-key'");
  EXPECT_TRUE(null_key.is_null(0));
  EXPECT_EQ(null_key.get<Bytes>(1), Bytes(""));
  EXPECT_EQ(decode_headers(null_key.get<std::string>(2)), headers);
  const auto empty_key = row("SELECT message_key, payload FROM seen WHERE message_id = 'empty-key'");
  EXPECT_EQ(empty_key.get<Bytes>(0), Bytes(""));
  EXPECT_TRUE(empty_key.is_null(1));
  const auto binary = row("SELECT message_key, payload FROM seen WHERE message_id = 'binary'");
  EXPECT_EQ(binary.get<Bytes>(0), Bytes(std::string("\0\xff", 2)));
  EXPECT_EQ(binary.get<Bytes>(1), Bytes(std::string("\0", 1)));
}

TEST_F(BadInput, MakesLettersOfWhatCannotBeReadAndGoesOn) {
  send({.key = "k", .payload = "long id", .headers = with_id(std::string(300, 'i'))});
  send({.key = "k", .payload = "empty id", .headers = with_id("")});
  Headers bad_time = with_id("bad-time");
  bad_time.append(std::string(names::kEventTime), "yesterday");
  send({.key = "k", .payload = "bad time", .headers = bad_time});
  send({.key = "k", .payload = "good", .headers = with_id("good")});

  consume_until([&] {
    return count("SELECT COUNT(*) FROM dead_letter") == 3 && count("SELECT COUNT(*) FROM seen") == 1 &&
           count("SELECT COUNT(*) FROM outbox_message WHERE status = 'sent'") == 3;
  });

  EXPECT_EQ(count("SELECT COUNT(*) FROM dead_letter WHERE error_stage = 'decode'"), 3);
  EXPECT_EQ(row("SELECT payload FROM dead_letter ORDER BY id LIMIT 1").get<std::string>(0), "long id");
  EXPECT_EQ(row("SELECT payload FROM seen").get<std::string>(0), "good");
}

TEST_F(BadInput, StopsOnARecordWithoutAnIdWhenNothingSaysWhatTheKeyIs) {
  send({.key = "k", .payload = "somebody else's"});

  try {
    consume_until([] { return false; });
    FAIL() << "nothing was thrown";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::misuse);
    EXPECT_THAT(error.what(), ::testing::HasSubstr("om-message-id"));
    EXPECT_THAT(error.what(), ::testing::HasSubstr("key_from"));
  }
  EXPECT_EQ(count("SELECT COUNT(*) FROM consumed_message"), 0);
  EXPECT_EQ(count("SELECT COUNT(*) FROM dead_letter"), 0);
}

TEST_F(BadInput, RunsALetterWithoutAKeyOnceItIsReplayed) {
  const inbox::DedupOptions by_header{
      .consumer = "shipping", .effects = Effects::transaction, .key_from = inbox::KeyFrom::header("order-id")};
  send({.key = "k", .payload = "no order id", .headers = {{"foreign", "header"}}});
  consume_until([&] { return count("SELECT COUNT(*) FROM dead_letter") == 1; }, by_header);

  dead_letter::Replay replay(pool_);
  (void)replay.start({.selection = {.consumer = "shipping"}, .operator_name = "test", .reason = "wanted anyway"});
  (void)replay.run({}, [](const dead_letter::ReplayJob&) {});
  consume_until([&] { return count("SELECT COUNT(*) FROM dead_letter WHERE state = 'replayed'") == 1; }, by_header);

  const auto seen = row("SELECT payload, headers FROM seen");
  EXPECT_EQ(seen.get<std::string>(0), "no order id");
  EXPECT_EQ(decode_headers(seen.get<std::string>(1)), (Headers{{"foreign", "header"}}));
  EXPECT_EQ(count("SELECT COUNT(*) FROM consumed_message WHERE state = 'done' AND life = 2"), 1);
}

TEST_F(BadInput, MakesALetterOfAMessageThatTakesAnothersKeyAndRunsItOnceItIsReplayed) {
  const inbox::DedupOptions by_order{.consumer = "shipping",
                                     .effects = Effects::transaction,
                                     .key_from = inbox::KeyFrom::json_pointer("/order"),
                                     .on_key_conflict = inbox::OnKeyConflict::dead_letter,
                                     .conflict_fields = {"/total"}};
  send({.key = "k", .payload = R"({"order":7,"total":10,"at":"10:00"})"});
  send({.key = "k", .payload = R"({"order":"7","total":10,"at":"10:05"})"});
  send({.key = "k", .payload = R"({"order":7,"total":99,"at":"10:10"})"});
  send({.key = "k", .payload = R"({"total":10})"});

  consume_until([&] { return count("SELECT COUNT(*) FROM dead_letter") == 2; }, by_order);

  EXPECT_EQ(row("SELECT GROUP_CONCAT(payload ORDER BY id) FROM seen").get<std::string>(0),
            R"({"order":7,"total":10,"at":"10:00"})");
  EXPECT_EQ(count("SELECT COUNT(*) FROM consumed_message WHERE message_key = '7' AND state = 'done'"), 1);
  EXPECT_EQ(count("SELECT COUNT(*) FROM dead_letter WHERE error_class = 'permanent' AND error_stage = 'key'"), 1);
  EXPECT_EQ(row("SELECT payload FROM dead_letter WHERE error_class = 'key_conflict'").get<std::string>(0),
            R"({"order":7,"total":99,"at":"10:10"})");

  dead_letter::Replay replay(pool_);
  (void)replay.start({.selection = {.consumer = "shipping", .error_class = "key_conflict"},
                      .operator_name = "test",
                      .reason = "it is another order"});
  (void)replay.run({}, [](const dead_letter::ReplayJob&) {});
  consume_until([&] { return count("SELECT COUNT(*) FROM dead_letter WHERE state = 'replayed'") == 1; }, by_order);

  EXPECT_EQ(count("SELECT COUNT(*) FROM seen"), 2);
}

TEST_F(BadInput, RefusesSeveralTopicsWithAKeyOfTheRecords) {
  kafka::Consumer source{{.brokers = Stack::brokers(), .group = group_, .topics = {topic_, topic_ + ".other"}}};
  inbox::Dedup once{pool_,
                    {.consumer = "shipping", .effects = Effects::transaction, .key_from = inbox::KeyFrom::record_key()},
                    [](const Message&, mysql::Transaction&) {}};
  dead_letter::Router failures{pool_};
  consume::Runner runner{source, once, failures};

  EXPECT_THROW(runner.run({}), MisuseError);
}

}  // namespace
}  // namespace oncemark
