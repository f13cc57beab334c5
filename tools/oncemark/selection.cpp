#include "selection.hpp"

#include <charconv>
#include <cmath>
#include <cstdio>

#include <oncemark/config/values.hpp>
#include <oncemark/core/error.hpp>
#include <oncemark/observe/log.hpp>

#include "program.hpp"

namespace oncemark::tools {
namespace {

Time parse_time(const char* flag, const std::string& text, Time now) {
  try {
    return now - config::parse_duration(text, flag);
  } catch (const ConfigError&) {
    // No duration, so a moment.
  }
  try {
    return parse_rfc3339(text);
  } catch (const Error&) {
    throw UsageError(std::string(flag) + " is \"" + printable(text, 60) +
                     "\"; expected how long ago (30m, 2h, 7d) or a time like 2026-11-23T09:30:00Z");
  }
}

}  // namespace

void SelectionFlags::add_to(CLI::App& verb) {
  const std::string group = "Selection (all must match)";
  verb.add_option("--consumer", consumer, "of this consumer")->type_name("NAME")->group(group);
  verb.add_option("--topic", topic, "whose message came from this topic")->type_name("TOPIC")->group(group);
  verb.add_option("--fingerprint", fingerprint, "that failed alike: 4 to 16 hex digits")
      ->type_name("HEX")
      ->group(group);
  verb.add_option("--error-class", error_class, "with this error class, e.g. permanent, mysql.1062")
      ->type_name("CLASS")
      ->group(group);
  verb.add_option("--id", id, "the one with this letter id")->type_name("N")->group(group);
  verb.add_option("--message-id", message_id, "of this message")->type_name("ID")->group(group);
  verb.add_option("--since", since, "that died since: 2h (ago), or 2026-11-23T09:30:00Z")
      ->type_name("TIME")
      ->group(group);
  verb.add_option("--until", until, "that died before: 2h (ago), or 2026-11-23T09:30:00Z")
      ->type_name("TIME")
      ->group(group);
}

bool SelectionFlags::is_narrowed() const { return is_narrowed_besides_limit() || limit; }

bool SelectionFlags::is_narrowed_besides_limit() const {
  return topic || fingerprint || error_class || message_id || id || since || until;
}

dead_letter::Selection SelectionFlags::selection(Time now) const {
  dead_letter::Selection chosen{.consumer = consumer,
                                .topic = topic,
                                .fingerprint = fingerprint,
                                .error_class = error_class,
                                .message_id = message_id,
                                .id = id};
  if (since) chosen.died_since = parse_time("--since", *since, now);
  if (until) chosen.died_until = parse_time("--until", *until, now);
  return chosen;
}

double parse_rate(const std::string& text) {
  double number = 0;
  const char* const end = text.data() + text.size();
  const auto [unit_begins, error] = std::from_chars(text.data(), end, number);
  const std::string_view unit(unit_begins, static_cast<std::size_t>(end - unit_begins));
  double seconds = 0;
  if (unit.empty() || unit == "/s") seconds = 1;
  if (unit == "/m") seconds = 60;
  if (unit == "/h") seconds = 3'600;
  if (error != std::errc{} || seconds == 0 || !std::isfinite(number) || number <= 0) {
    throw UsageError("--rate is \"" + printable(text, 40) + "\"; expected letters per time: 50/s, 600/m or 3600/h");
  }
  return number / seconds;
}

std::string rate_text(double rate) {
  if (rate <= 0) return "no limit";
  char text[32];
  if (rate < 1) {
    std::snprintf(text, sizeof text, "%.4g/m", rate * 60);
  } else {
    std::snprintf(text, sizeof text, "%.4g/s", rate);
  }
  return text;
}

}  // namespace oncemark::tools
