#include <oncemark/consume/stage.hpp>

namespace oncemark::consume {

std::string_view to_string(Stage stage) noexcept {
  switch (stage) {
    case Stage::decode:
      return "decode";
    case Stage::key:
      return "key";
    case Stage::handler:
      return "handler";
  }
  return "unknown";
}

}  // namespace oncemark::consume
