#include <oncemark/dead_letter/foreign.hpp>

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>

#include <oncemark/core/error.hpp>
#include <oncemark/message/codec.hpp>
#include <oncemark/message/names.hpp>

namespace oncemark::dead_letter {
namespace {

using enum Encoding;
using F = Family;
using M = Meaning;

constexpr std::array<std::string_view, 8> kFamilies{"oncemark", "kafka",    "spring",  "connect",
                                                    "streams",  "smallrye", "karafka", "none"};

constexpr auto kMeanings = std::to_array<HeaderMeaning>({
    {F::oncemark, names::kOriginTopic, topic, M::topic},
    {F::oncemark, names::kOriginPartition, decimal, M::partition},
    {F::oncemark, names::kOriginOffset, decimal, M::offset},
    {F::oncemark, names::kOriginTimestamp, rfc3339, M::timestamp},
    {F::oncemark, names::kOriginGroup, text, M::group},
    {F::oncemark, names::kAttempt, decimal, M::attempts},
    {F::oncemark, names::kLife, decimal, M::life},
    {F::oncemark, names::kErrorClass, text, M::error_class},
    {F::oncemark, names::kErrorMessage, text, M::error_text},
    {F::oncemark, names::kFirstFailedAt, rfc3339, M::first_failed},

    {F::kafka, names::kKafkaDlqTopic, topic, M::topic},
    {F::kafka, names::kKafkaDlqPartition, decimal, M::partition},
    {F::kafka, names::kKafkaDlqOffset, decimal, M::offset},
    {F::kafka, names::kKafkaDlqGroup, text, M::group},
    {F::kafka, names::kKafkaDlqDeliveryCount, decimal, M::attempts},
    {F::kafka, names::kKafkaDlqMessage, text, M::error_text},

    {F::spring, names::kSpringTopic, topic, M::topic},
    {F::spring, names::kSpringPartition, int32, M::partition},
    {F::spring, names::kSpringOffset, int64, M::offset},
    {F::spring, names::kSpringTimestamp, millis, M::timestamp},
    {F::spring, names::kSpringGroup, text, M::group},
    {F::spring, "kafka_dlt-exception-cause-fqcn", text, M::error_class},  // the exception itself only wraps it
    {F::spring, names::kSpringExceptionFqcn, text, M::error_class},
    {F::spring, names::kSpringExceptionMessage, text, M::error_text},
    {F::spring, "kafka_original-topic", topic, M::topic},
    {F::spring, "kafka_original-partition", int32, M::partition},
    {F::spring, "kafka_original-offset", int64, M::offset},
    {F::spring, "kafka_original-timestamp", millis, M::timestamp},
    {F::spring, "kafka_original-consumer-group", text, M::group},
    {F::spring, "kafka_exception-cause-fqcn", text, M::error_class},
    {F::spring, "kafka_exception-fqcn", text, M::error_class},
    {F::spring, "kafka_exception-message", text, M::error_text},
    {F::spring, "retry_topic-attempts", int32, M::attempts},
    {F::spring, "retry_topic-original-timestamp", big_integer, M::timestamp},

    {F::connect, "__connect.errors.topic", topic, M::topic},
    {F::connect, "__connect.errors.partition", decimal, M::partition},
    {F::connect, "__connect.errors.offset", decimal, M::offset},
    {F::connect, "__connect.errors.exception.class.name", text, M::error_class},
    {F::connect, "__connect.errors.exception.message", text, M::error_text},

    {F::streams, "__streams.errors.topic", topic, M::topic},
    {F::streams, "__streams.errors.partition", decimal, M::partition},
    {F::streams, "__streams.errors.offset", decimal, M::offset},
    {F::streams, "__streams.errors.exception", text, M::error_class},
    {F::streams, "__streams.errors.message", text, M::error_text},

    {F::smallrye, "dead-letter-topic", topic, M::topic},
    {F::smallrye, "dead-letter-partition", decimal, M::partition},
    {F::smallrye, "dead-letter-offset", decimal, M::offset},
    {F::smallrye, "delayed-retry-count", decimal, M::attempts},
    {F::smallrye, "dead-letter-cause-class-name", text, M::error_class},
    {F::smallrye, "dead-letter-exception-class-name", text, M::error_class},
    {F::smallrye, "dead-letter-reason", text, M::error_text},

    {F::karafka, "source_topic", topic, M::topic},
    {F::karafka, "source_partition", decimal, M::partition},
    {F::karafka, "source_offset", decimal, M::offset},
    {F::karafka, "source_consumer_group", text, M::group},
    {F::karafka, "source_attempts", decimal, M::attempts},
});

/// What a family adds beside the headers of the table.
struct Prefix {
  Family family;
  std::string_view text;
};
constexpr auto kPrefixes = std::to_array<Prefix>({
    {F::oncemark, names::kKafkaDlqPrefix},
    {F::oncemark, names::kSpringDltPrefix},
    {F::kafka, names::kKafkaDlqPrefix},
    {F::spring, names::kSpringDltPrefix},
    {F::spring, "kafka_original-"},
    {F::spring, "kafka_exception-"},
    {F::spring, "retry_topic-"},
    {F::connect, "__connect.errors."},
    {F::streams, "__streams.errors."},
    {F::smallrye, "dead-letter-"},
    {F::smallrye, "delayed-retry-"},
});

constexpr std::int64_t kLastMillis = 253'402'300'799'999;  // of the year 9999

std::optional<std::int64_t> from_decimal(std::string_view value) {
  std::int64_t number = 0;
  const char* const end = value.data() + value.size();
  const auto [stopped_at, error] = std::from_chars(value.data(), end, number);
  if (error != std::errc{} || stopped_at != end) return std::nullopt;
  return number;
}

std::optional<std::int64_t> from_big_endian(std::string_view value) {
  if (value.empty() || value.size() > 8) return std::nullopt;
  std::uint64_t bits = (static_cast<unsigned char>(value.front()) & 0x80) != 0 ? ~std::uint64_t{0} : 0;
  for (const char c : value) bits = bits << 8 | static_cast<unsigned char>(c);
  return static_cast<std::int64_t>(bits);
}

std::optional<std::int64_t> number_of(std::string_view value, Encoding encoding) {
  switch (encoding) {
    case decimal:
      return from_decimal(value);
    case int32:
      return value.size() == 4 ? from_big_endian(value) : std::nullopt;
    case int64:
    case millis:
      return value.size() == 8 ? from_big_endian(value) : std::nullopt;
    case big_integer:
      return from_big_endian(value);
    default:
      return std::nullopt;
  }
}

std::optional<Time> time_of(std::string_view value, Encoding encoding) {
  if (encoding == rfc3339) {
    try {
      return parse_rfc3339(value);
    } catch (const PermanentError&) {
      return std::nullopt;
    }
  }
  const auto number = number_of(value, encoding);
  if (!number || *number < 0 || *number > kLastMillis) return std::nullopt;
  return Time(std::chrono::milliseconds(*number));
}

bool is_topic(std::string_view name) {
  return !name.empty() && name.size() <= 249 && name != "." && name != ".." &&
         std::ranges::all_of(name, [](unsigned char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' ||
                  c == '-';
         });
}

/// Sets `field` unless an earlier row of the table has; false when the value is not what it should be.
template <typename Field, typename Value>
bool take(std::optional<Field>& field, const std::optional<Value>& value) {
  if (!value) return false;
  if (!field) field = static_cast<Field>(*value);
  return true;
}

template <typename Number>
std::optional<Number> bounded(std::optional<std::int64_t> number, std::int64_t least = 0) {
  if (!number || *number < least || !std::in_range<Number>(*number)) return std::nullopt;
  return static_cast<Number>(*number);
}

bool read(Provenance& into, const HeaderMeaning& row, std::string_view value) {
  const auto any = std::optional<std::string>(value);
  switch (row.meaning) {
    case M::topic:
      return take(into.topic, is_topic(value) ? any : std::nullopt);
    case M::partition:
      return take(into.partition, bounded<std::int32_t>(number_of(value, row.encoding)));
    case M::offset:
      return take(into.offset, bounded<std::int64_t>(number_of(value, row.encoding)));
    case M::timestamp:
      return take(into.timestamp, time_of(value, row.encoding));
    case M::first_failed:
      return take(into.first_failed_at, time_of(value, row.encoding));
    case M::group:
      return take(into.group, value.empty() ? std::nullopt : any);
    case M::attempts:
      return take(into.attempts, bounded<std::uint64_t>(number_of(value, row.encoding)));
    case M::life: {
      const auto life = bounded<std::uint64_t>(number_of(value, row.encoding), 1);
      return take(into.replays, life ? std::optional(*life - 1) : std::nullopt);
    }
    case M::error_class:
      return take(into.error_class, any);
    case M::error_text:
      return take(into.error_text, any);
  }
  return false;
}

}  // namespace

std::string_view to_string(Family family) noexcept { return kFamilies[static_cast<std::size_t>(family)]; }

std::span<const HeaderMeaning> header_meanings() noexcept { return kMeanings; }

Provenance provenance_of(const Record& record) {
  Provenance found;
  for (const HeaderMeaning& row : kMeanings) {  // in the order of the families
    const Bytes* value = record.headers.find(row.name);
    if (value == nullptr) continue;
    if (found.family == Family::none) found.family = row.family;
    if (found.family != row.family) break;
    if (value->is_null() || !read(found, row, value->view())) found.unreadable.emplace_back(row.name);
  }
  const bool is_left_out = record.headers.contains(names::kRecordLeftOut) || found.family == Family::kafka;
  found.is_pointer = record.payload.is_null() && is_left_out;
  if (!found.replays) {
    if (const auto replays = record.headers.text(names::kReplays)) {
      found.replays = bounded<std::uint64_t>(from_decimal(*replays));
    }
  }
  return found;
}

Headers headers_before(const Headers& headers, Family family) {
  const Headers all = family == Family::oncemark ? without_failure_headers(headers) : headers;
  Headers kept;
  for (const Header& header : all) {
    const bool is_theirs =
        std::ranges::any_of(
            kMeanings, [&](const HeaderMeaning& row) { return row.family == family && row.name == header.name; }) ||
        std::ranges::any_of(kPrefixes, [&](const Prefix& prefix) {
          return prefix.family == family && header.name.starts_with(prefix.text);
        });
    if (!is_theirs) kept.append(header.name, header.value);
  }
  return kept;
}

}  // namespace oncemark::dead_letter
