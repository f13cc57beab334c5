#include "config/keys.hpp"

#include <algorithm>

#include <oncemark/config/load.hpp>
#include <oncemark/config/values.hpp>
#include <oncemark/core/error.hpp>
#include <oncemark/observe/log.hpp>

namespace oncemark::config {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

std::string in_its_unit(std::int64_t milliseconds_count) {
  if (milliseconds_count % 1'000 != 0 || milliseconds_count == 0) return std::to_string(milliseconds_count) + "ms";
  return std::to_string(milliseconds_count / 1'000) + "s";
}

std::string in_quotes(std::string_view text) {
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') quoted += '\\';
    quoted += c;
  }
  return quoted + "\"";
}

// Each helper makes a key for one field: what it takes, and how it gets there.

template <typename Field>
Key text(std::string name, Field field, Kind kind = Kind::text) {
  return {.name = std::move(name),
          .kind = kind,
          .set = [field](Settings& settings, const Value& value) { field(settings) = std::get<std::string>(value); },
          .show = [field](const Settings& settings) { return in_quotes(field(settings)); }};
}

template <typename Field>
Key number(std::string name, Field field, std::int64_t least, std::int64_t most) {
  return {.name = std::move(name),
          .kind = Kind::number,
          .least = least,
          .most = most,
          .set =
              [field](Settings& settings, const Value& value) {
                auto& target = field(settings);
                target = static_cast<std::remove_reference_t<decltype(target)>>(std::get<std::int64_t>(value));
              },
          .show = [field](const Settings& settings) { return std::to_string(field(settings)); }};
}

template <typename Field>
Key duration(std::string name, Field field, milliseconds least, milliseconds most) {
  return {
      .name = std::move(name),
      .kind = Kind::duration,
      .least = least.count(),
      .most = most.count(),
      .set =
          [field](Settings& settings, const Value& value) {
            auto& target = field(settings);
            target = std::chrono::ceil<std::remove_reference_t<decltype(target)>>(std::get<milliseconds>(value));
          },
      .show =
          [field](const Settings& settings) { return in_quotes(in_its_unit(milliseconds(field(settings)).count())); }};
}

/// Whether what librdkafka calls so may be a secret: passwords, keys, tokens.
bool is_secret(std::string_view name) {
  for (const std::string_view part : {"password", "secret", "token", "jaas", "key.pem", "oauthbearer.config"}) {
    if (name.find(part) != std::string_view::npos) return true;
  }
  return false;
}

std::string shown_properties(const kafka::Properties& properties) {
  std::string text;
  for (const auto& [name, value] : properties) {
    text += (text.empty() ? " " : ", ") + in_quotes(name) + " = " + in_quotes(is_secret(name) ? "***" : value);
  }
  return "{" + text + (text.empty() ? "}" : " }");
}

/// "shipping:orders,billing:orders": consumers with the topics whose messages they have to handle.
std::vector<reconcile::Pair> pairs_in(std::string_view text) {
  std::vector<reconcile::Pair> pairs;
  while (!text.empty()) {
    const std::string_view one = text.substr(0, text.find(','));
    text.remove_prefix(std::min(one.size() + 1, text.size()));
    const std::size_t colon = one.find(':');
    if (colon == 0 || colon == std::string_view::npos || colon + 1 == one.size()) {
      throw ConfigError(
          "reconcile.pairs",
          "reconcile.pairs must be consumer:topic pairs, like \"shipping:orders\", got \"" + printable(one, 60) + "\"");
    }
    pairs.push_back({.consumer = std::string(one.substr(0, colon)), .topic = std::string(one.substr(colon + 1))});
  }
  return pairs;
}

reconcile::Contents contents_in(const std::string& text) {
  if (text == "compared") return reconcile::Contents::compared;
  if (text == "ignored") return reconcile::Contents::ignored;
  throw ConfigError("reconcile.contents",
                    "reconcile.contents must be \"compared\" or \"ignored\", got \"" + printable(text, 40) + "\"");
}

std::vector<Key> make_keys() {
  constexpr milliseconds kTick{1};
  constexpr milliseconds kHour = std::chrono::hours(1);
  constexpr milliseconds kWeek = std::chrono::hours(24 * 7);
  constexpr milliseconds kLongest = std::chrono::hours(24 * 3'650);
  std::vector<Key> keys{
      text(
          "mysql.url", [](auto& s) -> auto& { return s.mysql.url; }),
      text(
          "mysql.user", [](auto& s) -> auto& { return s.mysql.user; }),
      text(
          "mysql.password_file", [](auto& s) -> auto& { return s.mysql.password_file; }, Kind::path),
      text(
          "mysql.schema", [](auto& s) -> auto& { return s.mysql.schema; }),
      text(
          "mysql.tls_ca", [](auto& s) -> auto& { return s.mysql.tls_ca; }, Kind::path),
      number(
          "mysql.pool", [](auto& s) -> auto& { return s.mysql.size; }, 1, 1'000),
      duration(
          "mysql.connect_timeout", [](auto& s) -> auto& { return s.mysql.connect_timeout; }, seconds(1), seconds(300)),
      duration(
          "mysql.read_timeout", [](auto& s) -> auto& { return s.mysql.read_timeout; }, seconds(1), kHour),
      duration(
          "mysql.wait_timeout", [](auto& s) -> auto& { return s.mysql.wait_timeout; }, seconds(1), seconds(86'400)),
      duration(
          "mysql.lock_wait_timeout", [](auto& s) -> auto& { return s.mysql.lock_wait_timeout; }, seconds(1),
          seconds(600)),
      duration(
          "mysql.acquire_timeout", [](auto& s) -> auto& { return s.mysql.acquire_timeout; }, kTick, kHour),
      text(
          "kafka.brokers", [](auto& s) -> auto& { return s.kafka.brokers; }, Kind::list),
      text(
          "kafka.password_file", [](auto& s) -> auto& { return s.kafka.password_file; }, Kind::path),
      duration(
          "kafka.linger", [](auto& s) -> auto& { return s.kafka.linger; }, milliseconds(0), seconds(60)),
      number(
          "kafka.max_queued", [](auto& s) -> auto& { return s.kafka.max_queued; }, 1, 10'000'000),
      {.name = "kafka.properties",
       .kind = Kind::properties,
       .set = [](Settings& s, const Value& value) { s.kafka.properties = std::get<kafka::Properties>(value); },
       .show = [](const Settings& s) { return shown_properties(s.kafka.properties); }},
      text(
          "redis.url", [](auto& s) -> auto& { return s.redis.url; }),
      text(
          "redis.user", [](auto& s) -> auto& { return s.redis.user; }),
      text(
          "redis.password_file", [](auto& s) -> auto& { return s.redis.password_file; }, Kind::path),
      number(
          "redis.database", [](auto& s) -> auto& { return s.redis.database; }, 0, 65'535),
      number(
          "redis.pool", [](auto& s) -> auto& { return s.redis.size; }, 1, 1'000),
      duration(
          "redis.connect_timeout", [](auto& s) -> auto& { return s.redis.connect_timeout; }, kTick, seconds(60)),
      duration(
          "redis.command_timeout", [](auto& s) -> auto& { return s.redis.command_timeout; }, kTick, seconds(60)),
      text(
          "relay.name", [](auto& s) -> auto& { return s.relay.name; }),
      number(
          "relay.batch", [](auto& s) -> auto& { return s.relay.batch; }, 1, 10'000),
      duration(
          "relay.poll_interval", [](auto& s) -> auto& { return s.relay.poll_interval; }, kTick, kHour),
      duration(
          "relay.max_poll_interval", [](auto& s) -> auto& { return s.relay.max_poll_interval; }, kTick, kHour),
      duration(
          "relay.report_timeout", [](auto& s) -> auto& { return s.relay.report_timeout; }, kTick, kHour),
      number(
          "relay.max_attempts", [](auto& s) -> auto& { return s.relay.max_attempts; }, 1, 1'000),
      text(
          "topics.retry", [](auto& s) -> auto& { return s.topics.retry; }),
      text(
          "topics.dead_letter", [](auto& s) -> auto& { return s.topics.dead_letter; }),
      duration(
          "retention.marks", [](auto& s) -> auto& { return s.retention.marks; }, seconds(1), kLongest),
      duration(
          "retention.outbox", [](auto& s) -> auto& { return s.retention.outbox; }, seconds(1), kLongest),
      duration(
          "retention.letters", [](auto& s) -> auto& { return s.retention.letters; }, seconds(0), kLongest),
      duration(
          "retention.longest_retry", [](auto& s) -> auto& { return s.retention.longest_retry; }, seconds(0), kLongest),
      number(
          "retention.batch", [](auto& s) -> auto& { return s.retention.batch; }, 1, 10'000),
      duration(
          "retention.pause", [](auto& s) -> auto& { return s.retention.pause; }, milliseconds(0), seconds(60)),
      duration(
          "retention.interval", [](auto& s) -> auto& { return s.retention.interval; }, seconds(1), kWeek),
      text(
          "watchdog.consumer", [](auto& s) -> auto& { return s.watchdog.consumer; }),
      duration(
          "watchdog.overdue", [](auto& s) -> auto& { return s.watchdog.overdue; }, seconds(1), kLongest),
      number(
          "watchdog.batch", [](auto& s) -> auto& { return s.watchdog.batch; }, 1, 100'000),
      duration(
          "watchdog.interval", [](auto& s) -> auto& { return s.watchdog.interval; }, seconds(1), kWeek),
      duration(
          "reconcile.sla", [](auto& s) -> auto& { return s.reconcile.sla; }, seconds(1), kHour * 24 * 30),
      duration(
          "reconcile.span", [](auto& s) -> auto& { return s.reconcile.span; }, kHour, kHour * 24 * 366),
      duration(
          "reconcile.interval", [](auto& s) -> auto& { return s.reconcile.interval; }, seconds(10), kWeek),
      {.name = "reconcile.pairs",
       .kind = Kind::list,
       .set = [](Settings& s, const Value& value) { s.reconcile.pairs = pairs_in(std::get<std::string>(value)); },
       .show =
           [](const Settings& s) {
             std::string text;
             for (const reconcile::Pair& pair : s.reconcile.pairs) {
               text += (text.empty() ? "" : ", ") + in_quotes(pair.consumer + ":" + pair.topic);
             }
             return "[" + text + "]";
           }},
      {.name = "reconcile.contents",
       .kind = Kind::text,
       .set = [](Settings& s, const Value& value) { s.reconcile.contents = contents_in(std::get<std::string>(value)); },
       .show =
           [](const Settings& s) {
             return in_quotes(s.reconcile.contents == reconcile::Contents::compared ? "compared" : "ignored");
           }},
  };
  std::ranges::sort(keys, {}, &Key::name);
  return keys;
}

std::string name_in_section(std::string_view key) { return std::string(key.substr(key.find('.') + 1)); }

/// The key or section that was probably meant.
std::optional<std::string> meant(const std::string& name) {
  std::vector<std::string> sections;
  std::vector<std::string> siblings;
  std::vector<std::string> everywhere;
  const std::string section = name.substr(0, name.find('.') + 1);
  for (const Key& key : all_keys()) {
    if (name_in_section(key.name) == name_in_section(name)) return key.name;  // right name, wrong section
    everywhere.push_back(key.name);
    sections.push_back(key.name.substr(0, key.name.find('.')));
    if (!section.empty() && key.name.starts_with(section)) siblings.push_back(name_in_section(key.name));
  }
  if (section.empty()) return nearest(name, sections);
  if (const auto near = nearest(name_in_section(name), siblings)) return section + *near;
  return nearest(name, everywhere);
}

}  // namespace

const std::vector<Key>& all_keys() {
  static const std::vector<Key> keys = make_keys();
  return keys;
}

const Key* find_key(std::string_view name) {
  const auto key = std::ranges::lower_bound(all_keys(), name, std::less<>{}, &Key::name);
  return key != all_keys().end() && key->name == name ? &*key : nullptr;
}

std::vector<Shown> show(const Settings& settings) {
  std::vector<Shown> all;
  for (const Key& key : all_keys()) {
    all.push_back({.key = key.name, .value = key.show(settings), .origin = std::string(settings.origin_of(key.name))});
  }
  return all;
}

std::string expectation(const Key& key) {
  switch (key.kind) {
    case Kind::text:
    case Kind::path:
      return key.name + " must be a text";
    case Kind::list:
      return key.name + " must be a text or a list of texts";
    case Kind::number:
      return key.name + " must be a whole number from " + std::to_string(key.least) + " to " + std::to_string(key.most);
    case Kind::duration:
      return key.name + " must be a duration from \"" + in_its_unit(key.least) + "\" to \"" + in_its_unit(key.most) +
             "\"";
    case Kind::properties:
      return key.name + " must be a table of librdkafka properties, like { \"security.protocol\" = \"SSL\" }";
  }
  return key.name;
}

void set_key(Settings& settings, const Key& key, const Value& value, const std::string& origin) {
  std::int64_t measured = key.least;
  if (key.kind == Kind::number) measured = std::get<std::int64_t>(value);
  if (key.kind == Kind::duration) measured = std::get<milliseconds>(value).count();
  if (measured < key.least || measured > key.most) {
    throw ConfigError(key.name, expectation(key) + ", got " +
                                    (key.kind == Kind::duration ? in_its_unit(measured) : std::to_string(measured)) +
                                    " at " + origin);
  }
  if (key.kind == Kind::properties) check_properties(std::get<kafka::Properties>(value), origin);
  try {
    key.set(settings, value);
  } catch (const ConfigError& error) {
    throw ConfigError(key.name, std::string(error.what()) + " at " + origin);
  }
  settings.origins[key.name] = origin;
}

void refuse_key(const std::string& name, const std::string& shown, const std::string& where,
                const std::function<std::string(const std::string& key)>& spell) {
  if (name == "mysql.password" || name == "kafka.password" || name == "redis.password") {
    throw ConfigError(name, "\"" + shown + "\" " + where +
                                ": a password is only read from a file of its own; write it there, readable by its "
                                "owner only (chmod 600), and set " +
                                spell(name + "_file") + " to its path");
  }
  std::string text = "unknown key \"" + printable(shown, 100) + "\" " + where;
  if (const auto near = meant(name)) text += ". Did you mean \"" + spell(*near) + "\"?";
  throw ConfigError(name, text);
}

void check_properties(const kafka::Properties& properties, const std::string& origin) {
  if (!properties.contains("sasl.password")) return;
  throw ConfigError("kafka.properties", "\"sasl.password\" in kafka.properties at " + origin +
                                            ": a password is only read from a file of its own; write it there, "
                                            "readable by its owner only (chmod 600), and set kafka.password_file to "
                                            "its path");
}

}  // namespace oncemark::config
