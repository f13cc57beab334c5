// Streams that real servers have written, packet by packet, and what mutations of them do to the decoder.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <random>
#include <string>
#include <vector>

#include "binlog/decoder.hpp"
#include "binlog/group_reader.hpp"
#include "binlog/gtid_set.hpp"
#include "event_bytes.hpp"

namespace oncemark::binlog {
namespace {

using Packets = std::vector<std::string>;

int digit(char c) { return c <= '9' ? c - '0' : c - 'a' + 10; }

/// One packet a line, in hexadecimal digits.
Packets recorded(const std::string& server) {
  std::ifstream file(std::string(ONCEMARK_RECORDED) + "/" + server + ".hex");
  Packets packets;
  for (std::string line; std::getline(file, line);) {
    std::string packet;
    for (std::size_t i = 0; i + 1 < line.size(); i += 2) {
      packet += static_cast<char>(digit(line[i]) << 4 | digit(line[i + 1]));
    }
    packets.push_back(std::move(packet));
  }
  if (packets.empty()) throw std::runtime_error("nothing is recorded of " + server);
  return packets;
}

/// All there is to see in a stream, in words: a line a value.
class Words {
 public:
  explicit Words(Flavor flavor) : gtids_(flavor) {}

  void read(const std::string& packet) {
    decoder_.decode(packet, [this](const EventHeader& header, const Event& event) { groups_.take(header, event); });
  }
  [[nodiscard]] const std::vector<std::string>& lines() const { return lines_; }
  [[nodiscard]] std::string gtids() const { return gtids_.str(); }

 private:
  static std::string word(const Field& field) {
    switch (field.state) {
      case Field::State::absent:
        return "-";
      case Field::State::null:
        return "NULL";
      case Field::State::number:
        return std::to_string(field.as_signed());
      case Field::State::real:
        return std::to_string(field.real);
      case Field::State::bytes:
        return std::string(field.bytes);
      default:
        return field.text;
    }
  }
  static std::string line(const std::vector<Field>& fields) {
    std::string text;
    for (const Field& field : fields) text += (text.empty() ? "" : "|") + word(field);
    return text;
  }
  void rows(const RowsEvent& event) {
    const std::vector<bool> all;
    RowReader reader(event, all);
    while (reader.next()) {
      if (event.operation == Operation::insert) lines_.push_back("+ " + line(reader.after()));
      if (event.operation == Operation::remove) lines_.push_back("- " + line(reader.before()));
      if (event.operation == Operation::update) {
        lines_.push_back("< " + line(reader.before()));
        lines_.push_back("> " + line(reader.after()));
      }
    }
  }

  GtidSet gtids_;
  std::vector<std::string> lines_;
  GroupReader groups_{{.rows = [this](const RowsEvent& event) { rows(event); },
                       .statement = [](const Query&) {},
                       .end =
                           [this](const GroupEnd& end) {
                             gtids_.add(end.gtid);
                             if (end.outcome == Outcome::discarded) lines_.emplace_back("discarded");
                           }}};
  Decoder decoder_{[](std::string_view, std::string_view table) { return table != "unwanted"; }};
};

class RecordedStream : public ::testing::TestWithParam<const char*> {
 protected:
  static Flavor flavor() { return std::string(GetParam()) == "mysql" ? Flavor::mysql : Flavor::mariadb; }
};

TEST_P(RecordedStream, IsReadAsTheServerHasIt) {
  Words words(flavor());
  for (const std::string& packet : recorded(GetParam())) words.read(packet);

  std::ifstream file(std::string(ONCEMARK_RECORDED) + "/" + GetParam() + ".txt");
  std::vector<std::string> expected;
  for (std::string line; std::getline(file, line);) expected.push_back(line);
  EXPECT_EQ(words.lines(), expected);
  EXPECT_FALSE(words.gtids().empty());
}

/// Changes some bytes, cuts or doubles a part, and often makes length and checksum right again, so that the damage
/// reaches the innermost reader.
std::string mutated(std::string packet, std::mt19937_64& random) {
  const auto below = [&](std::size_t limit) { return limit == 0 ? 0 : static_cast<std::size_t>(random() % limit); };
  for (std::size_t i = below(4) + 1; i > 0; --i) {
    if (packet.empty()) break;
    const std::size_t at = below(3) == 0 ? below(packet.size()) : std::min(packet.size() - 1, 19 + below(80));
    switch (below(6)) {
      case 0:
        packet.resize(at);
        break;
      case 1:
        packet.insert(at, packet.substr(at, below(40)));
        break;
      case 2:
        packet.erase(at, below(20) + 1);
        break;
      case 3:
        packet[at] = static_cast<char>(below(2) == 0 ? 0xff : 0);
        break;
      default:
        packet[at] = static_cast<char>(random());
    }
  }
  if (packet.size() >= 23 && below(8) != 0) {
    packet.replace(9, 4, le(packet.size(), 4));
    packet.resize(packet.size() - 4);
    packet += le(crc32_of(packet), 4);
  }
  return packet;
}

TEST_P(RecordedStream, EndsInATypedErrorOrNotAtAllWhateverBecomesOfItsBytes) {
  const Packets packets = recorded(GetParam());
  const char* rounds = std::getenv("ONCEMARK_TEST_MUTATIONS");
  const int count = rounds == nullptr ? 3'000 : std::atoi(rounds);
  std::mt19937_64 random(20'261'126);
  int refused = 0;
  for (int round = 0; round < count; ++round) {
    Words words(flavor());
    const std::size_t victim = random() % packets.size();
    try {
      for (std::size_t i = 0; i < packets.size(); ++i)
        words.read(i == victim ? mutated(packets[i], random) : packets[i]);
    } catch (const BinlogError&) {
      ++refused;
    }
  }
  EXPECT_GT(refused, count / 4);
}

INSTANTIATE_TEST_SUITE_P(OfServers, RecordedStream, ::testing::Values("mariadb", "mysql"),
                         [](const auto& param) { return std::string(param.param); });

}  // namespace
}  // namespace oncemark::binlog
