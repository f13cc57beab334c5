#include "reconcile/digest_file.hpp"

#include <charconv>
#include <istream>
#include <limits>
#include <ostream>

#include <oncemark/core/error.hpp>
#include <oncemark/observe/log.hpp>
#include <oncemark/outbox/writer.hpp>

namespace oncemark::reconcile {
namespace {

constexpr std::string_view kMagic = "oncemark-reconcile 1";
constexpr std::size_t kMostRows = 500'000;  // of one file, for they lie in memory
constexpr const char* kHex = "0123456789abcdef";

bool is_plain(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' ||
         c == '-' || c == ':';
}

/// Any bytes as one word.
std::string word_of(std::string_view bytes) {
  std::string word;
  for (const char c : bytes) {
    if (is_plain(c)) {
      word += c;
    } else {
      const auto byte = static_cast<unsigned char>(c);
      word += '%';
      word += kHex[byte >> 4];
      word += kHex[byte & 15];
    }
  }
  return word.empty() ? "%" : word;
}

/// The words of a file, with an error that names the line.
class Words {
 public:
  Words(std::string line, std::uint64_t number) : line_(std::move(line)), number_(number) {}

  std::string_view next() {
    const std::string_view rest = std::string_view(line_).substr(at_);
    const std::string_view word = rest.substr(0, rest.find(' '));
    if (word.empty()) refuse("a word is missing");
    at_ = std::min(line_.size(), at_ + word.size() + 1);
    return word;
  }
  std::string bytes() {
    std::string decoded;
    const std::string_view word = next();
    if (word == "%") return decoded;
    for (std::size_t i = 0; i < word.size(); ++i) {
      if (word[i] != '%') {
        decoded += word[i];
        continue;
      }
      unsigned byte = 0;
      const char* const end = word.data() + std::min(word.size(), i + 3);
      const auto [stopped, error] = std::from_chars(word.data() + i + 1, end, byte, 16);
      if (error != std::errc{} || stopped != word.data() + i + 3) refuse("a byte is no byte");
      decoded += static_cast<char>(byte);
      i += 2;
    }
    return decoded;
  }
  std::uint64_t number(std::uint64_t most = std::numeric_limits<std::uint64_t>::max()) {
    const std::string_view word = next();
    std::uint64_t value = 0;
    const auto [stopped, error] = std::from_chars(word.data(), word.data() + word.size(), value);
    if (error != std::errc{} || stopped != word.data() + word.size() || value > most) refuse("a number is no number");
    return value;
  }
  Time time() {
    try {
      return parse_rfc3339(next());
    } catch (const PermanentError&) {
      refuse("a time is no time");
    }
  }
  [[noreturn]] void refuse(const std::string& why) const {
    throw MisuseError("line " + std::to_string(number_) + " of the digest file cannot be read: " + why + ": " +
                      printable(line_, 80));
  }

 private:
  std::string line_;
  std::uint64_t number_;
  std::size_t at_ = 0;
};

Buckets& buckets_of(DigestFile& file, const std::string& topic) {
  outbox::check_topic(topic);
  Buckets& buckets = file.digest.topics[topic];
  if (buckets.sums.empty()) buckets.sums.resize(file.digest.grid.buckets());
  return buckets;
}

}  // namespace

DigestWriter::DigestWriter(std::ostream& out, const DigestFile& head) : out_(out) {
  const Grid& grid = head.digest.grid;
  line(std::string(kMagic));
  line("head " + head.side + " " + word_of(head.consumer) + " " + format_rfc3339(head.at) + " " +
       format_rfc3339(grid.from) + " " + std::to_string(grid.minutes) + " " + std::to_string(grid.slices));
}

void DigestWriter::bucket(const std::string& topic, std::uint32_t number, const Sum& sum) {
  line("bucket " + topic + " " + std::to_string(number) + " " + std::to_string(sum.count) + " " +
       std::to_string(sum.keys) + " " + std::to_string(sum.contents) + " " + std::to_string(sum.hashed));
}

void DigestWriter::row(const std::string& topic, const SideRow& row) {
  line("row " + topic + " " + std::to_string(row.bucket) + " " + word_of(row.business_key) + " " +
       word_of(row.message_id) + " " + (row.payload_hash ? std::to_string(*row.payload_hash) : "-") + " " +
       format_rfc3339(row.event_time) + " " + format_rfc3339(row.since));
}

void DigestWriter::end() {
  out_ << "end " << lines_ << '\n';
  out_.flush();
  if (!out_) throw Error(ErrorKind::permanent, "the digest file could not be written; is the disk full?");
}

void DigestWriter::line(const std::string& text) {
  out_ << text << '\n';
  ++lines_;
}

DigestFile read_file(std::istream& in) {
  DigestFile file;
  std::string line;
  if (!std::getline(in, line) || line != kMagic) {
    throw MisuseError("this is no digest file: it does not begin with \"" + std::string(kMagic) +
                      "\"; `reconcile export` makes one");
  }
  std::size_t rows = 0;
  for (std::uint64_t number = 2; std::getline(in, line) && !in.eof(); ++number) {  // at the end: a line without its end
    Words words(line, number);
    const std::string_view kind = words.next();
    if (kind == "end") {
      if (words.number() != number - 1) words.refuse("lines are missing");
      return file;
    }
    if (kind == "head") {
      file.side = words.next();
      if (file.side != "sent" && file.side != "settled") words.refuse("it is of neither side");
      file.consumer = words.bytes();
      file.at = words.time();
      Grid& grid = file.digest.grid;
      grid.from = words.time();
      grid.minutes = static_cast<std::uint32_t>(words.number(kMostBuckets));
      grid.slices = static_cast<std::uint32_t>(words.number(kMostBuckets));
      grid.validate();
      continue;
    }
    if (file.side.empty()) words.refuse("the head is missing");
    const std::string topic(words.next());
    const auto bucket = static_cast<std::uint32_t>(words.number(file.digest.grid.buckets() - 1));
    if (kind == "bucket") {
      Sum& sum = buckets_of(file, topic).sums[bucket];
      sum.count = words.number();
      sum.keys = words.number();
      sum.contents = words.number();
      sum.hashed = words.number();
      file.differing[topic].push_back(bucket);
    } else if (kind == "row") {
      if (++rows > kMostRows) words.refuse("it has too many rows; compare a shorter --span");
      SideRow row{.bucket = bucket, .business_key = words.bytes(), .message_id = words.bytes()};
      if (const std::string_view hash = words.next(); hash != "-") {
        std::uint64_t value = 0;
        std::from_chars(hash.data(), hash.data() + hash.size(), value);
        row.payload_hash = value;
      }
      row.event_time = words.time();
      row.since = words.time();
      file.rows[topic].push_back(std::move(row));
    } else {
      words.refuse("unknown line");
    }
  }
  throw MisuseError("the digest file is cut off: its last line is missing; carry it over once more");
}

}  // namespace oncemark::reconcile
