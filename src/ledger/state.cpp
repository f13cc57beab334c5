#include <oncemark/ledger/state.hpp>

#include <array>
#include <string>
#include <utility>

#include <oncemark/core/error.hpp>

namespace oncemark::ledger {
namespace {

constexpr std::array<std::pair<State, std::string_view>, 5> kNames{{
    {State::done, "done"},
    {State::retrying, "retrying"},
    {State::parked, "parked"},
    {State::dead, "dead"},
    {State::discarded, "discarded"},
}};

}  // namespace

std::string_view to_string(State state) noexcept {
  for (const auto& [value, name] : kNames) {
    if (value == state) return name;
  }
  return "unknown";
}

State parse_state(std::string_view name) {
  for (const auto& [value, text] : kNames) {
    if (text == name) return value;
  }
  throw MisuseError("consumed_message holds the unknown state \"" + std::string(name) +
                    "\"; the schema is newer than this library: run `oncemark schema status`");
}

}  // namespace oncemark::ledger
