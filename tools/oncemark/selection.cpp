#include "selection.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <memory>

#include <oncemark/config/values.hpp>
#include <oncemark/core/error.hpp>
#include <oncemark/observe/log.hpp>

#include "jq.hpp"
#include "letter_record.hpp"
#include "program.hpp"

namespace oncemark::tools {
namespace {

Time parse_time(const char* flag, const std::string& text, Time now) {
  try {
    constexpr std::chrono::hours kLongest{24 * 365 * 1'000};  // nothing is so old, and no clock counts much further
    return now - std::min<std::chrono::milliseconds>(config::parse_duration(text, flag), kLongest);
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

template <typename Number>
Number parse_whole(const char* flag, std::string_view text, const char* expected) {
  Number number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error == std::errc{} && end == text.data() + text.size() && number >= 0) return number;
  throw UsageError(std::string(flag) + " has \"" + printable(text, 60) + "\"; expected " + expected);
}

/// 3, >3, >=3, <3 or <=3.
void parse_bounds(const char* flag, std::string_view text, std::uint32_t& min, std::uint32_t& max) {
  const std::size_t sign = std::min(text.find_first_not_of("<>="), text.size());
  const std::string_view relation = text.substr(0, sign);
  const auto number = parse_whole<std::uint32_t>(flag, text.substr(sign), "a number, or one behind >, >=, < or <=");
  if (relation.empty() || relation == "=") {
    min = max = number;
  } else if (relation == ">=" || (relation == ">" && number < UINT32_MAX)) {
    min = number + (relation == ">" ? 1 : 0);
  } else if (relation == "<=" || (relation == "<" && number > 0)) {
    max = number - (relation == "<" ? 1 : 0);
  } else {
    throw UsageError(std::string(flag) + " is \"" + printable(text, 60) + "\", which nothing can fit");
  }
}

/// orders, orders/3, orders/3@7 or orders/3@7..90
void parse_record(std::string_view text, dead_letter::Selection& selection) {
  constexpr const char* kExpected = "TOPIC/PARTITION, with @OFFSET or @FIRST..LAST, as in orders/3@7";
  const std::size_t slash = text.rfind('/');
  if (slash == std::string_view::npos) {
    throw UsageError("--record is \"" + printable(text, 100) + "\"; expected " + kExpected);
  }
  const std::size_t at = std::min(text.find('@', slash), text.size());
  selection.topic = std::string(text.substr(0, slash));
  selection.partition = parse_whole<std::int32_t>("--record", text.substr(slash + 1, at - slash - 1), kExpected);
  if (at == text.size()) return;
  const std::string_view offsets = text.substr(at + 1);
  const std::size_t dots = offsets.find("..");
  selection.first_offset = parse_whole<std::int64_t>("--record", offsets.substr(0, dots), kExpected);
  selection.last_offset = dots == std::string_view::npos
                              ? selection.first_offset
                              : parse_whole<std::int64_t>("--record", offsets.substr(dots + 2), kExpected);
}

double parse_share(const std::string& text) {
  double number = 0;
  const char* const end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, number);
  const bool is_percent = std::string_view(rest, static_cast<std::size_t>(end - rest)) == "%";
  if (error == std::errc{} && is_percent && number >= 0 && number <= 100) return number / 100;
  throw UsageError("--stop-if-failed-over is \"" + printable(text, 40) + "\"; expected 0% to 100%");
}

}  // namespace

bool matches_glob(std::string_view glob, std::string_view text) {
  // Back to the last * with one more byte under it: no recursion, so that no pattern takes for ever.
  std::size_t g = 0;
  std::size_t t = 0;
  std::size_t star = std::string_view::npos;
  std::size_t under_star = 0;
  while (t < text.size()) {
    if (g < glob.size() && glob[g] == '*') {
      star = g++;
      under_star = t;
    } else if (g < glob.size() && (glob[g] == '?' || glob[g] == text[t])) {
      ++g;
      ++t;
    } else if (star != std::string_view::npos) {
      g = star + 1;
      t = ++under_star;
    } else {
      return false;
    }
  }
  while (g < glob.size() && glob[g] == '*') ++g;
  return g == glob.size();
}

void SelectionFlags::add_to(CLI::App& verb) {
  const std::string heading = "Selection (all must match)";
  verb.add_option("--consumer", consumer, "of this consumer")->type_name("NAME")->group(heading);
  verb.add_option("--topic", topic, "whose message came from this topic")->type_name("TOPIC")->group(heading);
  verb.add_option("--fingerprint", fingerprint, "that failed alike: 4 to 16 hex digits")
      ->type_name("HEX")
      ->group(heading);
  verb.add_option("--error-class", error_class, "with this error class, e.g. permanent, mysql.1062")
      ->type_name("CLASS")
      ->group(heading);
  verb.add_option("--id", id, "the one with this letter id")->type_name("N")->group(heading);
  verb.add_option("--message-id", message_id, "of this message")->type_name("ID")->group(heading);
  verb.add_option("--group", group, "that this Kafka group failed at")->type_name("GROUP")->group(heading);
  verb.add_option("--record", record, "of this record, or these: orders/3, orders/3@7, orders/3@7..90")
      ->type_name("RECORD")
      ->group(heading);
  verb.add_option("--key", key, "whose record key matches: * any bytes, ? one byte")->type_name("GLOB")->group(heading);
  verb.add_option("--header", headers, "with a header that matches: tenant=acme-*; may be given several times")
      ->type_name("NAME=GLOB")
      ->group(heading)
      ->allow_extra_args(false);
  verb.add_option("--jq", jq, "for which this jq program says true: '.value.total > 100'; see docs/json.md")
      ->type_name("PROGRAM")
      ->group(heading);
  verb.add_option("--error-text", error_text, "whose error contains this")->type_name("TEXT")->group(heading);
  verb.add_option("--attempts", attempts, "given up after so many attempts: 3, '>3', '<=3'")
      ->type_name("N")
      ->group(heading);
  verb.add_option("--replays", replays, "replayed so often before: 0, '>=1'")->type_name("N")->group(heading);
  verb.add_option("--since", since, "that died since: 2h (ago), or 2026-11-23T09:30:00Z")
      ->type_name("TIME")
      ->group(heading);
  verb.add_option("--until", until, "that died before: 2h (ago), or 2026-11-23T09:30:00Z")
      ->type_name("TIME")
      ->group(heading);
}

bool SelectionFlags::is_narrowed() const { return is_narrowed_besides_limit() || limit; }

bool SelectionFlags::is_narrowed_besides_limit() const {
  return topic || fingerprint || error_class || message_id || id || since || until || group || record || key ||
         error_text || attempts || replays || !headers.empty() || jq;
}

dead_letter::Selection SelectionFlags::selection(Time now) const {
  dead_letter::Selection chosen{.consumer = consumer,
                                .topic = topic,
                                .fingerprint = fingerprint,
                                .error_class = error_class,
                                .message_id = message_id,
                                .id = id};
  chosen.group = group;
  chosen.error_text = error_text;
  chosen.key_glob = key;
  if (record) {
    if (topic) throw UsageError("--record names a topic; leave --topic out");
    parse_record(*record, chosen);
  }
  if (attempts) parse_bounds("--attempts", *attempts, chosen.min_attempts, chosen.max_attempts);
  if (replays) parse_bounds("--replays", *replays, chosen.min_replays, chosen.max_replays);
  if (since) chosen.died_since = parse_time("--since", *since, now);
  if (until) chosen.died_until = parse_time("--until", *until, now);
  return chosen;
}

dead_letter::LetterFilter SelectionFlags::filter() const {
  if (headers.empty() && !jq) return {};
  const auto program = jq ? std::make_shared<JqFilter>(*jq) : nullptr;
  std::vector<std::pair<std::string, std::string>> wanted;
  for (const std::string& header : headers) {
    const std::size_t equals = header.find('=');
    if (equals == std::string::npos || equals == 0) {
      throw UsageError("--header is \"" + printable(header, 60) + "\"; expected NAME=GLOB, for example tenant=acme-*");
    }
    wanted.emplace_back(header.substr(0, equals), header.substr(equals + 1));
  }
  const auto has = [](const Headers& found, const std::string& name, const std::string& glob) {
    return std::ranges::any_of(found, [&](const Header& header) {
      return header.name == name && !header.value.is_null() && matches_glob(glob, header.value.view());
    });
  };
  return {.accepts =
              [wanted, has, program](const dead_letter::Letter& letter) {
                return std::ranges::all_of(
                           wanted,
                           [&](const auto& one) { return has(letter.message.headers, one.first, one.second); }) &&
                       (program == nullptr || program->accepts(jq_document(letter)));
              },
          .needs = dead_letter::Detail::with_record};
}

std::string SelectionFlags::described() const {
  std::string text;
  for (const std::string& header : headers) text += (text.empty() ? "header " : ", header ") + header;
  if (jq) text += (text.empty() ? "jq " : ", jq ") + *jq;
  return text;
}

void PaceFlags::add_to(CLI::App& verb) {
  const std::string group = "Pace";
  verb.add_option("--rate", rate, "letters per time: 50/s, 600/m (default: no limit)")->type_name("RATE")->group(group);
  verb.add_option("--burst", burst, "at once after a pause (default: a tenth of a second's worth)")
      ->type_name("N")
      ->group(group);
  verb.add_option("--ramp", ramp, "rates one after the other: 1/s,10/s,100/s; the last one stays")
      ->type_name("RATES")
      ->group(group)
      ->delimiter(',')
      ->allow_extra_args(false);
  verb.add_option("--ramp-every", ramp_every, "how long each rate of the ramp holds (default 1m)")
      ->type_name("TIME")
      ->group(group);
  verb.add_option("--canary", canary, "replay so many first, and go on when they went well")
      ->type_name("N")
      ->group(group);
  verb.add_option("--canary-wait", canary_wait, "wait so long for them at most (default 2m)")
      ->type_name("TIME")
      ->group(group);
  verb.add_option("--stop-if-failed-over", stop_if_failed_over,
                  "pause when more than this share fails again: 10% (the default with --canary)")
      ->type_name("SHARE")
      ->group(group);
  verb.add_option("--in-flight", in_flight, "at most so many replayed and not yet done or dead again")
      ->type_name("N")
      ->group(group);
  verb.add_option("--order", order,
                  "death: as they died (default); key: as they lay in their topics, so in order by key")
      ->type_name("ORDER")
      ->group(group)
      ->check(CLI::IsMember({"death", "key"}));
  verb.add_option("--max-replays", max_replays, "leave letters that were replayed so often (default 2)")
      ->type_name("N")
      ->group(group);
}

dead_letter::Pace PaceFlags::pace() const {
  dead_letter::Pace pace;
  if (rate && !ramp.empty()) throw UsageError("--rate and --ramp exclude each other");
  if (rate) pace.rate = parse_rate(*rate);
  for (const std::string& step : ramp) pace.ramp.push_back(parse_rate(step));
  const auto seconds = [](const std::string& text, const char* flag) {
    return std::chrono::ceil<std::chrono::seconds>(config::parse_duration(text, flag));
  };
  pace.burst = burst;
  pace.ramp_every = seconds(ramp_every, "--ramp-every");
  pace.canary = canary;
  pace.canary_wait = seconds(canary_wait, "--canary-wait");
  if (stop_if_failed_over) pace.stop_if_failed_over = parse_share(*stop_if_failed_over);
  pace.in_flight = in_flight;
  return pace;
}

dead_letter::Turn PaceFlags::turn() const {
  return order == "key" ? dead_letter::Turn::by_origin : dead_letter::Turn::by_death;
}

bool PaceFlags::is_set_besides_rate() const {
  return burst > 0 || !ramp.empty() || canary > 0 || stop_if_failed_over || in_flight > 0 || order != "death" ||
         max_replays;
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
  const double rate = seconds > 0 ? number / seconds : 0;  // one that is too small to be told from 0 would be no limit
  if (error != std::errc{} || !std::isfinite(rate) || rate <= 0) {
    throw UsageError("--rate is \"" + printable(text, 40) + "\"; expected letters per time: 50/s, 600/m or 3600/h");
  }
  return rate;
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
