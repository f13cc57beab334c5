#include <algorithm>
#include <chrono>
#include <cmath>
#include <optional>
#include <stdexcept>
#include <string>

#include <oncemark/core/error.hpp>

#include "fuzz/targets.hpp"
#include "program.hpp"
#include "selection.hpp"

namespace oncemark::fuzz {
namespace {

void require(bool holds, const char* what) {
  if (!holds) throw std::logic_error(std::string("broken: ") + what);
}

struct Flags {
  tools::SelectionFlags selection;
  tools::PaceFlags pace;
  std::string glob = {};
};

void set(Flags& flags, char letter, const std::string& value) {
  switch (letter) {
    case 'r':
      flags.selection.record = value;
      break;
    case 'a':
      flags.selection.attempts = value;
      break;
    case 'p':
      flags.selection.replays = value;
      break;
    case 's':
      flags.selection.since = value;
      break;
    case 'u':
      flags.selection.until = value;
      break;
    case 'h':
      flags.selection.headers.push_back(value);
      break;
    case 'k':
      flags.glob = value;
      break;
    case 'R':
      flags.pace.rate = value;
      break;
    case 'm':
      flags.pace.ramp.push_back(value);
      break;
    case 'e':
      flags.pace.ramp_every = value;
      break;
    case 'w':
      flags.pace.canary_wait = value;
      break;
    case 'x':
      flags.pace.stop_if_failed_over = value;
      break;
    default:
      flags.selection.topic = value;
  }
}

void look_at_selection(const tools::SelectionFlags& flags) {
  const auto found = flags.selection(Time(std::chrono::seconds(1'764'000'000)));
  require(found.min_attempts <= found.max_attempts, "attempts can be met");
  const auto filter = flags.filter();
  if (!filter.accepts) return;
  dead_letter::Letter letter;
  letter.message.headers = {{"tenant", "acme-1"}};
  (void)filter.accepts(letter);
}

void look_at_pace(const tools::PaceFlags& flags) {
  const auto pace = flags.pace();
  require(!flags.rate || (pace.rate > 0 && std::isfinite(pace.rate)), "a rate that was given is a limit");
  for (const double step : pace.ramp) require(step > 0 && std::isfinite(step), "each rate of a ramp is a limit");
  require(pace.ramp_every.count() >= 0 && pace.canary_wait.count() >= 0, "durations are not negative");
  require(!tools::rate_text(pace.rate).empty(), "a rate can be printed");
}

}  // namespace

void filters(std::string_view bytes) {
  Flags flags;
  for (std::size_t from = 0; from < bytes.size();) {
    const std::size_t end = std::min(bytes.find('\n', from), bytes.size());
    const std::string line(bytes.substr(from, end - from));
    if (!line.empty()) set(flags, line[0], line.substr(1));
    from = end + 1;
  }
  require(tools::matches_glob(flags.glob + "*", flags.glob), "text fits itself");
  const auto try_to = [](auto look) {
    try {
      look();
    } catch (const tools::UsageError&) {
    } catch (const ConfigError&) {
    }
  };
  try_to([&] { look_at_selection(flags.selection); });
  try_to([&] { look_at_pace(flags.pace); });
}

}  // namespace oncemark::fuzz
