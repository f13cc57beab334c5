#include "config/keys.hpp"

#include <algorithm>

#include <oncemark/config/values.hpp>
#include <oncemark/core/error.hpp>
#include <oncemark/observe/log.hpp>

namespace oncemark::config {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

// Each helper makes a key for one field: what it takes, and how it gets there.

template <typename Field>
Key text(std::string name, Field field, Kind kind = Kind::text) {
  return {.name = std::move(name), .kind = kind, .set = [field](Settings& settings, const Value& value) {
            field(settings) = std::get<std::string>(value);
          }};
}

template <typename Field>
Key number(std::string name, Field field, std::int64_t least, std::int64_t most) {
  return {.name = std::move(name),
          .kind = Kind::number,
          .least = least,
          .most = most,
          .set = [field](Settings& settings, const Value& value) {
            auto& target = field(settings);
            target = static_cast<std::remove_reference_t<decltype(target)>>(std::get<std::int64_t>(value));
          }};
}

template <typename Field>
Key duration(std::string name, Field field, milliseconds least, milliseconds most) {
  return {.name = std::move(name),
          .kind = Kind::duration,
          .least = least.count(),
          .most = most.count(),
          .set = [field](Settings& settings, const Value& value) {
            auto& target = field(settings);
            target = std::chrono::ceil<std::remove_reference_t<decltype(target)>>(std::get<milliseconds>(value));
          }};
}

std::vector<Key> make_keys() {
  constexpr milliseconds kTick{1};
  constexpr milliseconds kHour = std::chrono::hours(1);
  constexpr milliseconds kWeek = std::chrono::hours(24 * 7);
  constexpr milliseconds kLongest = std::chrono::hours(24 * 3'650);
  std::vector<Key> keys{
      text(
          "mysql.url", [](Settings & s) -> auto& { return s.mysql.url; }),
      text(
          "mysql.user", [](Settings & s) -> auto& { return s.mysql.user; }),
      text(
          "mysql.password_file", [](Settings & s) -> auto& { return s.mysql.password_file; }, Kind::path),
      text(
          "mysql.schema", [](Settings & s) -> auto& { return s.mysql.schema; }),
      text(
          "mysql.tls_ca", [](Settings & s) -> auto& { return s.mysql.tls_ca; }, Kind::path),
      number(
          "mysql.pool", [](Settings & s) -> auto& { return s.mysql.size; }, 1, 1'000),
      duration(
          "mysql.connect_timeout", [](Settings & s) -> auto& { return s.mysql.connect_timeout; }, seconds(1),
          seconds(300)),
      duration(
          "mysql.read_timeout", [](Settings & s) -> auto& { return s.mysql.read_timeout; }, seconds(1), kHour),
      duration(
          "mysql.wait_timeout", [](Settings & s) -> auto& { return s.mysql.wait_timeout; }, seconds(1),
          seconds(86'400)),
      duration(
          "mysql.lock_wait_timeout", [](Settings & s) -> auto& { return s.mysql.lock_wait_timeout; }, seconds(1),
          seconds(600)),
      duration(
          "mysql.acquire_timeout", [](Settings & s) -> auto& { return s.mysql.acquire_timeout; }, kTick, kHour),
      text(
          "kafka.brokers", [](Settings & s) -> auto& { return s.kafka.brokers; }, Kind::list),
      text(
          "kafka.password_file", [](Settings & s) -> auto& { return s.kafka.password_file; }, Kind::path),
      duration(
          "kafka.linger", [](Settings & s) -> auto& { return s.kafka.linger; }, milliseconds(0), seconds(60)),
      number(
          "kafka.max_queued", [](Settings & s) -> auto& { return s.kafka.max_queued; }, 1, 10'000'000),
      {.name = "kafka.properties",
       .kind = Kind::properties,
       .set = [](Settings& s, const Value& value) { s.kafka.properties = std::get<kafka::Properties>(value); }},
      text(
          "redis.url", [](Settings & s) -> auto& { return s.redis.url; }),
      text(
          "redis.user", [](Settings & s) -> auto& { return s.redis.user; }),
      text(
          "redis.password_file", [](Settings & s) -> auto& { return s.redis.password_file; }, Kind::path),
      number(
          "redis.database", [](Settings & s) -> auto& { return s.redis.database; }, 0, 65'535),
      number(
          "redis.pool", [](Settings & s) -> auto& { return s.redis.size; }, 1, 1'000),
      duration(
          "redis.connect_timeout", [](Settings & s) -> auto& { return s.redis.connect_timeout; }, kTick, seconds(60)),
      duration(
          "redis.command_timeout", [](Settings & s) -> auto& { return s.redis.command_timeout; }, kTick, seconds(60)),
      text(
          "relay.name", [](Settings & s) -> auto& { return s.relay.name; }),
      number(
          "relay.batch", [](Settings & s) -> auto& { return s.relay.batch; }, 1, 10'000),
      duration(
          "relay.poll_interval", [](Settings & s) -> auto& { return s.relay.poll_interval; }, kTick, kHour),
      duration(
          "relay.max_poll_interval", [](Settings & s) -> auto& { return s.relay.max_poll_interval; }, kTick, kHour),
      duration(
          "relay.report_timeout", [](Settings & s) -> auto& { return s.relay.report_timeout; }, kTick, kHour),
      number(
          "relay.max_attempts", [](Settings & s) -> auto& { return s.relay.max_attempts; }, 1, 1'000),
      text(
          "topics.retry", [](Settings & s) -> auto& { return s.topics.retry; }),
      text(
          "topics.dead_letter", [](Settings & s) -> auto& { return s.topics.dead_letter; }),
      duration(
          "retention.marks", [](Settings & s) -> auto& { return s.retention.marks; }, seconds(1), kLongest),
      duration(
          "retention.outbox", [](Settings & s) -> auto& { return s.retention.outbox; }, seconds(1), kLongest),
      duration(
          "retention.letters", [](Settings & s) -> auto& { return s.retention.letters; }, seconds(0), kLongest),
      duration(
          "retention.longest_retry", [](Settings & s) -> auto& { return s.retention.longest_retry; }, seconds(0),
          kLongest),
      number(
          "retention.batch", [](Settings & s) -> auto& { return s.retention.batch; }, 1, 10'000),
      duration(
          "retention.pause", [](Settings & s) -> auto& { return s.retention.pause; }, milliseconds(0), seconds(60)),
      duration(
          "retention.interval", [](Settings & s) -> auto& { return s.retention.interval; }, seconds(1), kWeek),
      text(
          "watchdog.consumer", [](Settings & s) -> auto& { return s.watchdog.consumer; }),
      duration(
          "watchdog.overdue", [](Settings & s) -> auto& { return s.watchdog.overdue; }, seconds(1), kLongest),
      number(
          "watchdog.batch", [](Settings & s) -> auto& { return s.watchdog.batch; }, 1, 100'000),
      duration(
          "watchdog.interval", [](Settings & s) -> auto& { return s.watchdog.interval; }, seconds(1), kWeek),
  };
  std::ranges::sort(keys, {}, &Key::name);
  return keys;
}

std::string in_its_unit(std::int64_t milliseconds_count) {
  if (milliseconds_count % 1'000 != 0 || milliseconds_count == 0) return std::to_string(milliseconds_count) + "ms";
  return std::to_string(milliseconds_count / 1'000) + "s";
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
  key.set(settings, value);
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
