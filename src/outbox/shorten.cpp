#include "outbox/shorten.hpp"

#include <algorithm>
#include <array>

#include <oncemark/core/error.hpp>
#include <oncemark/message/names.hpp>

namespace oncemark::outbox {
namespace {

constexpr std::size_t kTextBytes = 64;
constexpr std::size_t kKeyBytes = 1'024;

constexpr std::array kTexts{names::kErrorClass, names::kErrorMessage, names::kKafkaDlqMessage,
                            names::kSpringExceptionFqcn, names::kSpringExceptionMessage};
constexpr std::array kKeptPrefixes{names::kPrefix, names::kKafkaDlqPrefix, names::kSpringDltPrefix};
constexpr std::array kKeptNames{names::kTraceparent, names::kTracestate};

bool is_text(std::string_view name) { return std::ranges::find(kTexts, name) != kTexts.end(); }

bool is_kept_by_a_pointer(std::string_view name) {
  return std::ranges::find(kKeptNames, name) != kKeptNames.end() ||
         std::ranges::any_of(kKeptPrefixes, [&](std::string_view prefix) { return name.starts_with(prefix); });
}

Headers with_short_texts(const Headers& headers) {
  Headers kept;
  for (const Header& header : headers) {
    const bool is_long = is_text(header.name) && header.value.size() > kTextBytes;
    kept.append(header.name,
                is_long ? Bytes(std::string(truncate_utf8(header.value.view(), kTextBytes))) : header.value);
  }
  return kept;
}

}  // namespace

void shorten(OutgoingRecord& record, Form form) {
  record.headers = with_short_texts(record.headers);
  if (form == Form::trimmed) return;
  Headers kept;
  for (const Header& header : record.headers) {
    // A foreign header may bear one of these names and any size.
    if (is_kept_by_a_pointer(header.name) && header.value.size() <= kKeyBytes) kept.append(header.name, header.value);
  }
  kept.set(names::kRecordLeftOut, std::to_string(record.payload.size()));
  record.headers = std::move(kept);
  record.payload = nullptr;
  if (record.key.size() > kKeyBytes) record.key = nullptr;
}

}  // namespace oncemark::outbox
