#pragma once

#include <optional>
#include <string>
#include <string_view>

#include <oncemark/core/bytes.hpp>

#include "output.hpp"

namespace oncemark::tools {

/// The JSON that a text is; nothing when it is none, or so deeply nested that working on it could exhaust the stack.
[[nodiscard]] std::optional<Json> parse_payload(std::string_view text);

/// The payload with a JSON Patch (RFC 6902) applied.
///
/// Throws UsageError when the payload or the patch is no JSON, when the patch does not fit, and when writing the payload
/// anew would change what nobody asked for: a number that has no equal in 64 bits or in this notation (1.10), or a
/// member that is there twice.
[[nodiscard]] Bytes with_patch(const Bytes& payload, std::string_view patch);
/// The same with a merge patch (RFC 7396).
[[nodiscard]] Bytes with_merge_patch(const Bytes& payload, std::string_view patch);

/// All bytes of a file; `-` is standard input. Throws UsageError when it cannot be read.
[[nodiscard]] std::string read_whole(const std::string& file);

/// What the person's editor makes of the payload: bytes, whatever they are. A newline that the editor adds at the end of
/// a text that had none is left out. `command`: from $VISUAL, else $EDITOR, else vi.
///
/// Throws UsageError when the editor fails, and std::runtime_error when the file cannot be written or read.
[[nodiscard]] Bytes edited_by_hand(const Bytes& payload);

}  // namespace oncemark::tools
