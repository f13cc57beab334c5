#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace oncemark::utf8 {

/// The length of the valid UTF-8 sequence that `text` begins with; 0 when there is none.
/// Strict (RFC 3629): no overlong form, no surrogate, nothing above U+10FFFF.
[[nodiscard]] std::size_t sequence_length(std::string_view text) noexcept;

[[nodiscard]] bool is_valid(std::string_view text) noexcept;

/// `text` with every byte that belongs to no valid sequence replaced by '?'.
[[nodiscard]] std::string repaired(std::string_view text);

/// 'text' in quotes for an error text: at most 40 bytes, and anything but printable ASCII as '?',
/// since an error text lies in a UTF-8 column and the value may be anything.
[[nodiscard]] std::string in_quotes(std::string_view text);

}  // namespace oncemark::utf8
