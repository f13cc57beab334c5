#pragma once

#include <string>
#include <string_view>

#include <oncemark/dead_letter/store.hpp>

#include "output.hpp"

namespace oncemark::tools {

inline constexpr std::string_view kRecordSchema = "oncemark.record/1";

/// A letter with its record, as export writes it and import reads it: any bytes, nothing is lost.
[[nodiscard]] Json record_json(const dead_letter::Letter& letter);

/// What import reads of such a line.
struct RecordLine {
  std::uint64_t letter = 0;
  std::string consumer;
  Bytes message_id;
  std::uint32_t replays = 0;
  Bytes key;
  Bytes payload;
  Headers headers;
};
/// Throws UsageError that says what is wrong with it.
[[nodiscard]] RecordLine parse_record_line(std::string_view line);

/// What a jq program gets: the record, but `key`, `value` and the headers as they read: `value` parsed where it is JSON,
/// else text, else {"base64": …}; `headers` an object by name.
[[nodiscard]] std::string jq_document(const dead_letter::Letter& letter);

}  // namespace oncemark::tools
