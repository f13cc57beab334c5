#pragma once

#include <string_view>

namespace oncemark::fuzz {

/// Feeds bytes to a reader of bad input; throws when it breaks what its header promises: an exception of another kind
/// than those it names, or something read that is not the same when it is written and read again.
void headers(std::string_view bytes);   // decode_headers
void json(std::string_view bytes);      // JsonPointer, json_key, json_hash: a pointer, a newline, a payload
void config(std::string_view bytes);    // config::load: a file
void foreign(std::string_view bytes);   // provenance_of, headers_before, decode_*_record: headers (see targets.cpp)
void binlog(std::string_view bytes);    // Decoder, RowReader: events, each a type, flags, a length in two bytes, a body
void document(std::string_view bytes);  // json_text: a JSON document as MySQL stores it
void filters(std::string_view bytes);  // selection and pace of dlq-replay: lines, each a letter for the flag, its value

}  // namespace oncemark::fuzz
