#include "binlog/gtid_set.hpp"

#include <algorithm>
#include <charconv>
#include <limits>

#include "binlog/cursor.hpp"

namespace oncemark::binlog {
namespace {

constexpr std::size_t kUuidBytes = 16;
constexpr std::size_t kMaxTag = 32;

[[noreturn]] void refuse(std::string_view text) {
  refuse_bytes("GTID set \"" + std::string(text.substr(0, 80)) + "\" cannot be read");
}

std::uint64_t number(std::string_view text) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() ||
      value > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) {
    refuse(text);
  }
  return value;
}

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  for (;;) {
    const std::size_t at = text.find(separator);
    parts.push_back(text.substr(0, at));
    if (at == std::string_view::npos) return parts;
    text.remove_prefix(at + 1);
  }
}

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

std::string uuid_bytes(std::string_view text) {
  std::string digits;
  for (const char c : text) {
    if (c != '-') digits += c;
  }
  if (digits.size() != 2 * kUuidBytes) refuse(text);
  std::string bytes;
  for (std::size_t i = 0; i < digits.size(); i += 2) {
    const int high = hex_digit(digits[i]);
    const int low = hex_digit(digits[i + 1]);
    if (high < 0 || low < 0) refuse(text);
    bytes += static_cast<char>(high << 4 | low);
  }
  return bytes;
}

std::string uuid_text(std::string_view bytes) {
  constexpr std::string_view kHex = "0123456789abcdef";
  std::string text;
  for (std::size_t i = 0; i < kUuidBytes; ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10) text += '-';
    text += kHex[static_cast<unsigned char>(bytes[i]) >> 4];
    text += kHex[static_cast<unsigned char>(bytes[i]) & 0xf];
  }
  return text;
}

void put(std::string& out, std::uint64_t value, unsigned bytes) {
  for (unsigned i = 0; i < bytes; ++i) out += static_cast<char>(value >> (8 * i));
}

}  // namespace

GtidSet GtidSet::parse(Flavor flavor, std::string_view text) {
  GtidSet set(flavor);
  std::string compact;
  for (const char c : text) {
    if (c != ' ' && c != '\n' && c != '\r' && c != '\t') compact += c;
  }
  if (compact.empty()) return set;
  for (const std::string_view part : split(compact, ',')) {
    if (part.empty()) continue;
    if (flavor == Flavor::mysql) {
      set.parse_source(part);
      continue;
    }
    const std::vector<std::string_view> fields = split(part, '-');
    if (fields.size() != 3) refuse(part);
    const std::uint64_t domain = number(fields[0]);
    const std::uint64_t server = number(fields[1]);
    if (std::max(domain, server) > std::numeric_limits<std::uint32_t>::max()) refuse(part);
    set.domains_[static_cast<std::uint32_t>(domain)] = {static_cast<std::uint32_t>(server), number(fields[2])};
  }
  return set;
}

// UUID, then intervals; a tag starts the intervals of another source of the same UUID.
void GtidSet::parse_source(std::string_view text) {
  const std::vector<std::string_view> fields = split(text, ':');
  const std::string uuid = uuid_bytes(fields[0]);
  std::string tag;
  for (std::size_t i = 1; i < fields.size(); ++i) {
    const std::string_view field = fields[i];
    if (field.empty()) refuse(text);
    if (field[0] < '0' || field[0] > '9') {
      if (field.size() > kMaxTag) refuse(text);
      tag = std::string(field);
      continue;
    }
    const std::vector<std::string_view> ends = split(field, '-');
    if (ends.size() > 2) refuse(text);
    const std::uint64_t first = number(ends.front());
    const std::uint64_t last = number(ends.back());
    if (first == 0 || last < first) refuse(text);
    add_interval(sources_[uuid + tag], {first, last + 1});
  }
}

void GtidSet::add(const Gtid& gtid) {
  if (gtid.number == 0) return;  // anonymous
  if (flavor_ == Flavor::mariadb) {
    domains_[gtid.domain] = {gtid.server, gtid.number};
    return;
  }
  std::vector<Interval>& intervals = sources_[gtid.source];
  if (!intervals.empty() && intervals.back().second == gtid.number) {
    ++intervals.back().second;  // nearly always
    return;
  }
  add_interval(intervals, {gtid.number, gtid.number + 1});
}

void GtidSet::add(const GtidSet& others) {
  for (const auto& [domain, last] : others.domains_) domains_[domain] = last;
  for (const auto& [source, added] : others.sources_) {
    std::vector<Interval>& intervals = sources_[source];
    for (const Interval& interval : added) {
      if (!intervals.empty() && intervals.back().second == interval.first) {
        intervals.back().second = interval.second;
      } else {
        add_interval(intervals, interval);
      }
    }
  }
}

void GtidSet::add_interval(std::vector<Interval>& intervals, Interval added) {
  intervals.push_back(added);
  std::sort(intervals.begin(), intervals.end());
  std::vector<Interval> merged;
  for (const Interval& interval : intervals) {
    if (!merged.empty() && interval.first <= merged.back().second) {
      merged.back().second = std::max(merged.back().second, interval.second);
    } else {
      merged.push_back(interval);
    }
  }
  intervals = std::move(merged);
}

std::string GtidSet::str() const {
  std::string text;
  for (const auto& [domain, last] : domains_) {
    text += (text.empty() ? "" : ",") + std::to_string(domain) + '-' + std::to_string(last.server) + '-' +
            std::to_string(last.number);
  }
  for (const auto& [source, intervals] : sources_) {
    text += (text.empty() ? "" : ",") + uuid_text(source);
    if (source.size() > kUuidBytes) text += ':' + source.substr(kUuidBytes);
    for (const auto& [first, end] : intervals) {
      text += ':' + std::to_string(first);
      if (end - first > 1) text += '-' + std::to_string(end - 1);
    }
  }
  return text;
}

// Servers before 8.3 know no tags, and a head without them.
std::string GtidSet::encoded() const {
  const bool has_tags = std::any_of(sources_.begin(), sources_.end(),
                                    [](const auto& source) { return source.first.size() > kUuidBytes; });
  std::string out;
  const std::uint64_t count = sources_.size();
  put(out, has_tags ? std::uint64_t{1} << 56 | count << 8 | 1 : count, 8);
  for (const auto& [source, intervals] : sources_) {
    out += source.substr(0, kUuidBytes);
    if (has_tags) {
      const std::string tag = source.substr(kUuidBytes);
      out += static_cast<char>(tag.size() << 1);
      out += tag;
    }
    put(out, intervals.size(), 8);
    for (const auto& [first, end] : intervals) {
      put(out, first, 8);
      put(out, end, 8);
    }
  }
  return out;
}

}  // namespace oncemark::binlog
