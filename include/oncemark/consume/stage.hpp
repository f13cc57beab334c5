#pragma once

#include <string_view>

namespace oncemark::consume {

/// Where in its handling a message failed.
enum class Stage {
  decode,   ///< it is no message: keyed by its coordinates
  key,      ///< it has no business key, or another message's: keyed by its coordinates
  handler,  ///< what was to be done with it failed
};

[[nodiscard]] std::string_view to_string(Stage stage) noexcept;

}  // namespace oncemark::consume
