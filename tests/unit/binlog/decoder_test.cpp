#include "binlog/decoder.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <zlib.h>
#include <zstd.h>

#include <vector>

#include "event_bytes.hpp"

namespace oncemark::binlog {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

/// A decoder that wants shop.orders, with what it made of its packets in words.
class DecoderTest : public ::testing::Test {
 protected:
  void decode(const std::string& packet) {
    decoder_.decode(packet, [this](const EventHeader&, const Event& event) { note(event); });
  }
  Trouble trouble_of(const std::string& packet) {
    try {
      decode(packet);
    } catch (const BinlogError& error) {
      text_ = error.what();
      return error.trouble();
    }
    ADD_FAILURE() << "was taken";
    return Trouble::purged;
  }
  void map_orders() { decode(event(19, table_map(7, "shop", "orders", "\x03\x0f", std::string("\x14\x00", 2)))); }

  void note(const Event& event) {
    if (const auto* rotate = std::get_if<Rotate>(&event)) {
      seen_.push_back("rotate " + rotate->file + ":" + std::to_string(rotate->position));
    } else if (const auto* format = std::get_if<FormatDescription>(&event)) {
      seen_.push_back("format " + format->server_version);
    } else if (const auto* query = std::get_if<Query>(&event)) {
      seen_.push_back("query " + query->text);
    } else if (std::holds_alternative<Commit>(event)) {
      seen_.push_back("commit");
    } else if (std::holds_alternative<Prepared>(event)) {
      seen_.push_back("prepared");
    } else if (const auto* gtid = std::get_if<Gtid>(&event)) {
      seen_.push_back("gtid " + std::to_string(gtid->domain) + "-" + std::to_string(gtid->server) + "-" +
                      std::to_string(gtid->number));
    } else if (const auto* rows = std::get_if<RowsEvent>(&event)) {
      const std::vector<bool> all;
      RowReader reader(*rows, all);
      while (reader.next()) {
        const auto& fields = rows->operation == Operation::remove ? reader.before() : reader.after();
        seen_.push_back("row " + std::to_string(fields[0].as_signed()) + " " + std::string(fields[1].bytes));
      }
    }
  }

  Decoder decoder_{
      [](std::string_view schema, std::string_view table) { return schema == "shop" && table == "orders"; }};
  std::vector<std::string> seen_;
  std::string text_;
};

const std::string kRow = std::string("\x00", 1) + le(42, 4) + "\x04" + "milk";

TEST_F(DecoderTest, TellsWhereAStreamBeginsBeforeItKnowsTheFormat) {
  decode(event(4, le(4711, 8) + "binlog.000007", true, 0x20));
  decode(event(4, le(4, 8) + "binlog.000008", false, 0x20));

  EXPECT_THAT(seen_, ElementsAre("rotate binlog.000007:4711", "rotate binlog.000008:4"));
}

TEST_F(DecoderTest, ReadsRowsOfATableThatIsWanted) {
  decode(format_description());
  map_orders();
  decode(event(23, rows_v1(7, 2, kRow)));
  decode(event(25, rows_v1(7, 2, kRow)));
  decode(event(16, le(99, 8)));

  EXPECT_THAT(seen_, ElementsAre("format 10.11.14-MariaDB", "row 42 milk", "row 42 milk", "commit"));
}

TEST_F(DecoderTest, ReadsRowsOfVersion2WithTheirExtraHead) {
  decode(format_description());
  map_orders();
  const std::string v1 = rows_v1(7, 2, kRow);
  decode(event(30, v1.substr(0, 8) + le(5, 2) + "\x01\x02\x03" + v1.substr(8)));

  EXPECT_THAT(seen_, ElementsAre("format 10.11.14-MariaDB", "row 42 milk"));
}

TEST_F(DecoderTest, PassesOverRowsOfOtherTables) {
  decode(format_description());
  decode(event(19, table_map(9, "shop", "clicks", "\x63", "")));  // a type of column that nobody knows
  decode(event(23, rows_v1(9, 1, "whatever")));
  decode(event(39, rows_v1(9, 1, "partial JSON")));

  EXPECT_THAT(seen_, ElementsAre("format 10.11.14-MariaDB"));
}

TEST_F(DecoderTest, RefusesAnEventThatItDoesNotKnow) {
  decode(format_description());

  EXPECT_EQ(trouble_of(event(99, "something")), Trouble::unsupported);
  EXPECT_THAT(text_, HasSubstr("type 99"));
}

TEST_F(DecoderTest, PassesOverAnUnknownEventThatTheServerCallsIgnorable) {
  decode(format_description());
  decode(event(99, "something", true, 0x80));

  EXPECT_THAT(seen_, ElementsAre("format 10.11.14-MariaDB"));
}

TEST_F(DecoderTest, RefusesADamagedEvent) {
  decode(format_description());
  std::string damaged = event(16, le(99, 8));
  damaged[20] = '\x7f';

  EXPECT_EQ(trouble_of(damaged), Trouble::malformed);
  EXPECT_THAT(text_, HasSubstr("checksum"));
}

TEST_F(DecoderTest, RefusesRowsWithoutTheMapOfTheirTable) {
  decode(format_description());

  EXPECT_EQ(trouble_of(event(23, rows_v1(7, 2, kRow))), Trouble::malformed);
}

TEST_F(DecoderTest, RefusesRowsThatTakeUpNoBytes) {
  decode(format_description());
  map_orders();
  const std::string none = le(7, 6) + le(1, 2) + "\x02" + std::string(1, '\0') + "endless";

  EXPECT_EQ(trouble_of(event(23, none)), Trouble::malformed);
}

TEST_F(DecoderTest, RefusesPartialJsonOfATableThatIsWanted) {
  decode(format_description());
  map_orders();

  EXPECT_EQ(trouble_of(event(39, rows_v1(7, 2, kRow))), Trouble::unsupported);
  EXPECT_THAT(text_, HasSubstr("binlog_row_value_options"));
}

TEST_F(DecoderTest, SaysThatEventsAreLostWhereTheServerSaysSo) {
  decode(format_description());

  EXPECT_EQ(trouble_of(event(26, le(1, 2) + std::string(1, '\0'))), Trouble::purged);
}

std::string deflated(const std::string& text) {
  uLongf size = compressBound(text.size());
  std::string out(size, '\0');
  compress(reinterpret_cast<Bytef*>(out.data()), &size, reinterpret_cast<const Bytef*>(text.data()), text.size());
  out.resize(size);
  return "\x81" + le(text.size(), 1) + out;
}

TEST_F(DecoderTest, InflatesWhatMariadbHasCompressed) {
  decode(format_description());
  map_orders();
  const std::string v1 = rows_v1(7, 2, "");
  decode(event(166, v1 + deflated(kRow)));
  decode(event(165, le(0, 8) + '\0' + le(0, 2) + le(0, 2) + '\0' + deflated("CREATE TABLE t (a INT)")));

  EXPECT_THAT(seen_, ElementsAre("format 10.11.14-MariaDB", "row 42 milk", "query CREATE TABLE t (a INT)"));
}

TEST_F(DecoderTest, RefusesMoreThanACompressedEventPromises) {
  decode(format_description());
  map_orders();
  std::string body = rows_v1(7, 2, "") + deflated(std::string(200, 'x'));
  body[rows_v1(7, 2, "").size() + 1] = '\x05';

  EXPECT_EQ(trouble_of(event(166, body)), Trouble::malformed);
}

std::string payload_of(const std::string& events, bool is_compressed = true) {
  std::string packed = events;
  if (is_compressed) {
    packed.resize(ZSTD_compressBound(events.size()));
    packed.resize(ZSTD_compress(packed.data(), packed.size(), events.data(), events.size(), 3));
  }
  const auto field = [](int type, std::uint64_t value) {
    return static_cast<char>(type) + std::string("\x03") + "\xfc" + le(value, 2);
  };
  return field(1, packed.size()) + field(2, is_compressed ? 0 : 255) + field(3, events.size()) + std::string(1, '\0') +
         packed;
}

TEST_F(DecoderTest, UnpacksTheTransactionsThatMysqlHasCompressed) {
  const std::string events = event(19, table_map(7, "shop", "orders", "\x03\x0f", std::string("\x14\x00", 2)), false) +
                             event(23, rows_v1(7, 2, kRow + kRow), false) + event(16, le(1, 8), false);
  decode(format_description());
  decode(event(40, payload_of(events)));
  decode(event(40, payload_of(events, false)));

  EXPECT_THAT(seen_, ElementsAre("format 10.11.14-MariaDB", "row 42 milk", "row 42 milk", "commit", "row 42 milk",
                                 "row 42 milk", "commit"));
}

TEST_F(DecoderTest, RefusesATransactionThatEndsWithinAnEvent) {
  const std::string whole = event(16, le(1, 8), false);
  decode(format_description());

  EXPECT_EQ(trouble_of(event(40, payload_of(whole + whole.substr(0, 9)))), Trouble::malformed);
}

TEST_F(DecoderTest, ReadsGtidsOfBothServers) {
  decode(format_description());
  decode(event(162, le(5, 8) + le(3, 4) + '\x01', true, 0, 0, 17));
  decode(event(33, '\x01' + std::string(16, '\xab') + le(9, 8) + std::string(17, '\0')));

  EXPECT_THAT(seen_, ElementsAre("format 10.11.14-MariaDB", "gtid 3-17-5", "gtid 0-0-9"));
}

TEST_F(DecoderTest, TellsAPreparedTransactionFromACommittedOne) {
  decode(format_description());
  decode(event(38, std::string(1, '\0') + le(1, 4)));
  decode(event(38, std::string(1, '\1') + le(1, 4)));

  EXPECT_THAT(seen_, ElementsAre("format 10.11.14-MariaDB", "prepared", "commit"));
}

}  // namespace
}  // namespace oncemark::binlog
