#pragma once

#include <string>
#include <string_view>

#include <oncemark/core/bytes.hpp>
#include <oncemark/message/headers.hpp>

namespace oncemark::tools {

/// What an edit changes, for a person: lines that went and came, each escaped for a terminal. JSON is laid out first;
/// bytes that are no text are told by size and by where they begin to differ. Empty: nothing.
[[nodiscard]] std::string payload_diff(const Bytes& before, const Bytes& after);
[[nodiscard]] std::string headers_diff(const Headers& before, const Headers& after);

}  // namespace oncemark::tools
