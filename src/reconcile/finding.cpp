#include <oncemark/reconcile/finding.hpp>

#include <array>

#include <oncemark/core/error.hpp>
#include <oncemark/observe/log.hpp>

namespace oncemark::reconcile {
namespace {

constexpr std::array<std::string_view, kKinds> kNames{"unsent", "unsettled", "unexpected",
                                                      "dead",   "replayed",  "conflict"};

}  // namespace

std::string_view to_string(Kind kind) noexcept { return kNames[static_cast<std::size_t>(kind)]; }

Kind parse_kind(std::string_view name) {
  for (std::size_t i = 0; i < kNames.size(); ++i) {
    if (kNames[i] == name) return static_cast<Kind>(i);
  }
  throw MisuseError("\"" + printable(name, 40) +
                    "\" is no kind of difference; there are unsent, unsettled, unexpected, dead, replayed, conflict");
}

}  // namespace oncemark::reconcile
