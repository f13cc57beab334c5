#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace oncemark::base64 {

/// The standard alphabet with padding (RFC 4648, section 4), on one line.
[[nodiscard]] std::string encode(std::string_view bytes);

/// Nothing unless `text` is what encode() would write for some bytes.
[[nodiscard]] std::optional<std::string> decode(std::string_view text);

}  // namespace oncemark::base64
