#include <oncemark/dead_letter/foreign.hpp>

#include <map>
#include <random>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <oncemark/dead_letter/envelope.hpp>
#include <oncemark/message/names.hpp>
#include <oncemark/testing/builders.hpp>

namespace oncemark::dead_letter {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

std::string big_endian(std::int64_t number, int width) {
  std::string bytes;
  for (int shift = 8 * (width - 1); shift >= 0; shift -= 8) bytes += static_cast<char>(number >> shift & 0xff);
  return bytes;
}

Time at_ms(std::int64_t ms) { return Time(std::chrono::milliseconds(ms)); }

/// A value of that encoding, and what it means: partition 3, offset 991, and so on.
std::string sample(const HeaderMeaning& row) {
  const std::map<Meaning, std::int64_t> numbers{{Meaning::partition, 3},
                                                {Meaning::offset, 991},
                                                {Meaning::attempts, 4},
                                                {Meaning::life, 3},
                                                {Meaning::timestamp, 1'764'000'000'123}};
  switch (row.encoding) {
    case Encoding::text:
      return std::string(row.name) + " says";
    case Encoding::topic:
      return "orders";
    case Encoding::decimal:
      return std::to_string(numbers.at(row.meaning));
    case Encoding::int32:
      return big_endian(numbers.at(row.meaning), 4);
    case Encoding::int64:
    case Encoding::millis:
      return big_endian(numbers.at(row.meaning), 8);
    case Encoding::big_integer:
      return big_endian(numbers.at(row.meaning), 6);
    case Encoding::rfc3339:
      return "2025-11-24T16:00:00.123000Z";
  }
  return {};
}

Record letter(Headers headers) {
  Record record;
  record.position = {"dlq", 0, 17};
  record.key = "k";
  record.payload = "body";
  record.headers = std::move(headers);
  return record;
}

TEST(Provenance, UnderstandsEveryRowOfTheTable) {
  for (const HeaderMeaning& row : header_meanings()) {
    const Provenance found = provenance_of(letter({{"before", "1"}, {std::string(row.name), sample(row)}}));

    EXPECT_EQ(found.family, row.family) << row.name;
    EXPECT_THAT(found.unreadable, IsEmpty()) << row.name;
    switch (row.meaning) {
      case Meaning::topic:
        EXPECT_EQ(found.topic, "orders");
        break;
      case Meaning::partition:
        EXPECT_EQ(found.partition, 3);
        break;
      case Meaning::offset:
        EXPECT_EQ(found.offset, 991);
        break;
      case Meaning::timestamp:
        EXPECT_EQ(found.timestamp, at_ms(1'764'000'000'123)) << row.name;
        break;
      case Meaning::first_failed:
        EXPECT_EQ(found.first_failed_at, at_ms(1'764'000'000'123));
        break;
      case Meaning::group:
        EXPECT_EQ(found.group, sample(row));
        break;
      case Meaning::attempts:
        EXPECT_EQ(found.attempts, 4u);
        break;
      case Meaning::life:
        EXPECT_EQ(found.replays, 2u);
        break;
      case Meaning::error_class:
        EXPECT_EQ(found.error_class, sample(row));
        break;
      case Meaning::error_text:
        EXPECT_EQ(found.error_text, sample(row));
        break;
    }
  }
}

TEST(Provenance, OfAValueThatIsNotOfItsEncodingIsUnknownAndNamed) {
  const std::vector<Bytes> hostile{nullptr,
                                   "",
                                   "x",
                                   "-1",
                                   std::string(3, '\xff'),
                                   std::string(4, '\xff'),
                                   std::string(8, '\xff'),
                                   std::string(9, '\0'),
                                   "99999999999999999999",
                                   std::string(70'000, 'a')};
  for (const HeaderMeaning& row : header_meanings()) {
    if (row.encoding == Encoding::text) continue;
    for (const Bytes& value : hostile) {
      if (row.encoding == Encoding::topic &&
          (value == Bytes("x") || value == Bytes("-1") || value == Bytes("99999999999999999999"))) {
        continue;
      }
      const bool is_small_number = !value.empty() && value.size() <= 2;
      if (row.encoding == Encoding::big_integer && is_small_number) continue;
      const Provenance found = provenance_of(letter({{std::string(row.name), value}}));

      EXPECT_THAT(found.unreadable, ElementsAre(std::string(row.name))) << row.name;
      EXPECT_FALSE(found.topic || found.partition || found.offset || found.timestamp || found.attempts);
    }
  }
}

TEST(Provenance, NeverThrowsWhateverTheBytesAre) {
  std::mt19937 random(7);
  for (int round = 0; round < 20'000; ++round) {
    const auto rows = header_meanings();
    Headers headers;
    for (int i = 0; i < 4; ++i) {
      std::string value(random() % 12, '\0');
      for (char& c : value) c = static_cast<char>(random());
      headers.append(std::string(rows[random() % rows.size()].name), random() % 9 == 0 ? Bytes(nullptr) : Bytes(value));
    }
    EXPECT_NO_THROW((void)provenance_of(letter(headers)));
  }
}

TEST(Provenance, OfOursIsOursWhateverFamiliesItAlsoBears) {
  Message message = testing::message_with_id("o-1");
  message.origin = {"orders", 3, 991};
  const Envelope envelope{.group = "shipping",
                          .life = 2,
                          .attempt = 4,
                          .first_failed_at = at_ms(1'764'000'000'000),
                          .error_class = "permanent",
                          .error_text = "no",
                          .stage = "handler"};

  const Provenance found = provenance_of(letter(dead_letter_headers(message, envelope, Families::kafka_and_spring)));

  EXPECT_EQ(found.family, Family::oncemark);
  EXPECT_EQ(found.topic, "orders");
  EXPECT_EQ(found.partition, 3);
  EXPECT_EQ(found.offset, 991);
  EXPECT_EQ(found.group, "shipping");
  EXPECT_EQ(found.attempts, 4u);
  EXPECT_EQ(found.replays, 1u);
  EXPECT_EQ(found.error_class, "permanent");
  EXPECT_THAT(found.unreadable, IsEmpty());
}

TEST(Provenance, OfASpringLetterNamesTheCauseAndNotItsWrapper) {
  const Provenance found = provenance_of(letter({{"kafka_dlt-exception-fqcn", "ListenerExecutionFailedException"},
                                                 {"kafka_dlt-exception-cause-fqcn", "java.lang.IllegalState"}}));

  EXPECT_EQ(found.error_class, "java.lang.IllegalState");
}

TEST(Provenance, TellsAPointerByItsFamilyOrOurMark) {
  Record kafka = letter({{"__dlq.errors.topic", "orders"}});
  EXPECT_FALSE(provenance_of(kafka).is_pointer);
  kafka.payload = nullptr;
  EXPECT_TRUE(provenance_of(kafka).is_pointer);

  Record tombstone = letter({{"kafka_dlt-original-topic", "orders"}});
  tombstone.payload = nullptr;
  EXPECT_FALSE(provenance_of(tombstone).is_pointer);

  Record ours = letter({{"om-origin-topic", "orders"}, {"om-record-left-out", "2000000"}});
  ours.payload = nullptr;
  EXPECT_TRUE(provenance_of(ours).is_pointer);
}

TEST(Provenance, OfAnythingElseIsNone) {
  const Provenance found = provenance_of(letter({{"om-message-id", "o-1"}, {"x-original-topic", "orders"}}));

  EXPECT_EQ(found.family, Family::none);
  EXPECT_FALSE(found.topic);
}

TEST(HeadersBefore, AreWhatTheFamilyFound) {
  const Headers original{{"a", "1"}, {"om-message-id", "o-1"}, {"a", nullptr}, {"", "2"}};
  for (const Family family : {Family::kafka, Family::spring, Family::connect, Family::streams, Family::smallrye,
                              Family::karafka, Family::oncemark}) {
    Headers headers = original;
    for (const HeaderMeaning& row : header_meanings()) {
      if (row.family == family) headers.append(std::string(row.name), "x");
    }

    EXPECT_EQ(headers_before(headers, family), original) << to_string(family);
  }
}

TEST(HeadersBefore, KeepWhatAnotherFamilyWrote) {
  const Headers headers{{"dead-letter-reason", "a user's own"}, {"kafka_dlt-exception-stacktrace", "at …"}};

  EXPECT_EQ(headers_before(headers, Family::spring), (Headers{{"dead-letter-reason", "a user's own"}}));
}

}  // namespace
}  // namespace oncemark::dead_letter
