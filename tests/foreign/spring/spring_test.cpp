// The real Spring for Apache Kafka: its dead letters read and replayed by us, ours read by its accessors.
#include <fstream>
#include <set>
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <oncemark/dead_letter/envelope.hpp>

#include "support/kafka_log.hpp"
#include "support/letters.hpp"
#include "support/process.hpp"
#include "support/tool_environment.hpp"
#include "support/topics_by_hand.hpp"
#include "support/unique_topic.hpp"

namespace oncemark::testing {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

std::string hex(const Bytes& bytes) {
  if (bytes.is_null()) return "null";
  std::string text;
  for (const char c : bytes.view()) {
    char two[3];
    std::snprintf(two, sizeof two, "%02x", static_cast<unsigned char>(c));
    text += two;
  }
  return text;
}

/// A letter as our router writes it, and the line that Spring's reader must print for it.
OutgoingRecord our_letter(const Message& message, std::string& expected) {
  const dead_letter::Envelope envelope{.group = "shipping",
                                       .life = 1,
                                       .attempt = 4,
                                       .first_failed_at = message.event_time,
                                       .error_class = "std::runtime_error",
                                       .error_text = "the warehouse says no",
                                       .stage = "handler"};
  const auto ms = std::chrono::floor<std::chrono::milliseconds>(message.origin_timestamp).time_since_epoch().count();
  expected = "letter|" + message.origin.topic + "|" + std::to_string(message.origin.partition) + "|" +
             std::to_string(message.origin.offset) + "|" + std::to_string(ms) + "|CreateTime|" + envelope.group + "|" +
             envelope.error_class + "|" + envelope.error_text + "|" + hex(message.key) + "|" + hex(message.payload);
  return {.key = message.key,
          .payload = message.payload,
          .headers = dead_letter::dead_letter_headers(message, envelope, dead_letter::Families::kafka_and_spring)};
}

TEST(Spring, AndWeReadEachOthersDeadLetters) {
  Process build({.arguments = {"/bin/bash", ONCEMARK_SOURCE "/tests/foreign/build_spring"}});
  const Ended built = build.wait();
  if (built.code == 77) GTEST_SKIP() << built.err;
  ASSERT_EQ(built.code, 0) << built.err;
  const std::string class_path = built.out.substr(0, built.out.find('\n'));

  const std::string source = unique_topic(2);
  const std::string dlt = unique_topic(2);
  const std::string ours = unique_topic(1);
  std::vector<OutgoingRecord> records;
  for (int i = 0; i < 20; ++i) {
    records.push_back({.key = i % 5 == 0 ? Bytes(nullptr) : Bytes(std::string("k\0", 2) + std::to_string(i)),
                       .payload = i % 7 == 0 ? Bytes(nullptr) : Bytes("\xff payload " + std::to_string(i)),
                       .headers = {{"n", std::to_string(i)}, {"twice", "a"}, {"twice", std::string("\0\xff", 2)}}});
  }
  send_records(source, records);
  Message message = order_message("o-1", 1'234'567'890'123);
  message.origin.partition = 2'000'000'000;
  Message tombstone = order_message("o-2", 0);
  tombstone.key = nullptr;
  tombstone.payload = nullptr;
  std::vector<std::string> expected(2);
  send_records(ours, {our_letter(message, expected[0]), our_letter(tombstone, expected[1])});

  const Ended spring = run({"/bin/bash", "-c", "exec java -cp \"$0\" foreign.Spring \"$@\"", class_path,
                            Stack::brokers(), source, "20", dlt, ours, "2"},
                           {});
  ASSERT_EQ(spring.code, 0) << spring.out << spring.err;

  // Theirs, as we understand them.
  const TempSchema schema(Tables::ours);
  const Ended listed = run({program("dlq-replay"), "list", "--from-topic", dlt, "--json"}, environment_of(schema));
  ASSERT_EQ(listed.code, 0) << listed.err;
  std::istringstream lines(listed.out);
  std::set<std::pair<int, int>> origins;
  for (std::string line; std::getline(lines, line);) {
    const json record = json::parse(line);
    EXPECT_EQ(record["family"], "spring");
    EXPECT_EQ(record["origin"]["topic"], source);
    EXPECT_EQ(record["origin"]["group"], "spring-" + source);
    EXPECT_FALSE(record["origin"]["timestamp"].is_null());
    EXPECT_EQ(record["error"]["class"], "java.lang.IllegalStateException");
    EXPECT_THAT(record["error"]["text"].get<std::string>(), HasSubstr("warehouse 17 refuses"));
    EXPECT_TRUE(record["unreadable"].empty()) << line;
    origins.emplace(record["origin"]["partition"].get<int>(), record["origin"]["offset"].get<int>());
  }
  EXPECT_EQ(origins.size(), 20u);
  const Ended replayed = run({program("dlq-replay"), "run", "--from-topic", dlt, "--allow", source, "--confirm", dlt},
                             environment_of(schema));
  EXPECT_EQ(replayed.code, 0) << replayed.err;
  std::map<std::string, int> seen;
  for (Record& record : read_topic(Stack::brokers(), source)) {
    const auto n = std::string(record.headers.text("n").value());
    const OutgoingRecord& original = records[std::stoul(n)];
    record.headers.remove("om-replay-id");
    record.headers.remove("om-replays");
    EXPECT_EQ(record.key, original.key);
    EXPECT_EQ(record.payload, original.payload);
    EXPECT_EQ(record.headers, original.headers);
    ++seen[n];
  }
  EXPECT_EQ(seen.size(), 20u);
  for (const auto& [n, times] : seen) EXPECT_EQ(times, 2) << n;  // as sent at first, and as replayed

  // Ours, as they understand them.
  for (const std::string& line : expected) EXPECT_THAT(spring.out, HasSubstr(line));
}

}  // namespace
}  // namespace oncemark::testing
