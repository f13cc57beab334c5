#include <oncemark/config/load.hpp>

#include <algorithm>
#include <charconv>
#include <system_error>

#include <toml++/toml.h>

#include <oncemark/config/values.hpp>
#include <oncemark/core/error.hpp>

#include "config/keys.hpp"
#include "config/toml_file.hpp"

extern char** environ;

namespace oncemark::config {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kVariablePrefix = "ONCEMARK_";

std::optional<std::string> variable(const Environment& environment, std::string_view name) {
  const auto found = environment.find(name);
  if (found == environment.end() || found->second.empty()) return std::nullopt;
  return found->second;
}

// ---- The file ----

/// Reads one file; errors say line and column.
class FileReader {
 public:
  FileReader(Settings& settings, const fs::path& path) : settings_(settings), path_(path) {}

  void read() {
    const toml::table root = read_toml(path_, "--config", "configuration file");
    settings_.file = path_.string();
    for (const auto& [section, node] : root) read_section(section, node);
  }

 private:
  [[nodiscard]] std::string place(const toml::source_region& region) const {
    return path_.string() + " line " + std::to_string(region.begin.line) + ", column " +
           std::to_string(region.begin.column);
  }

  void read_section(const toml::key& section, const toml::node& node) {
    const std::string name(section.str());
    const toml::table* keys = node.as_table();
    const bool is_section =
        std::ranges::any_of(all_keys(), [&](const Key& key) { return key.name.starts_with(name + "."); });
    if (!is_section)
      refuse_key(name, name, "at " + place(section.source()), [](const std::string& key) { return key; });
    if (keys == nullptr) {
      throw ConfigError(name, name + " must be a section, like [" + name + "], got " + type_of(node) + " at " +
                                  place(section.source()));
    }
    for (const auto& [key, value] : *keys) read_key(name, key, value);
  }

  void read_key(const std::string& section, const toml::key& name, const toml::node& node) {
    const std::string full = section + "." + std::string(name.str());
    const Key* key = find_key(full);
    if (key == nullptr) {
      refuse_key(full, std::string(name.str()), "at " + place(name.source()), [&](const std::string& near) {
        return near.starts_with(section + ".") ? near.substr(section.size() + 1) : near;
      });
    }
    set_key(settings_, *key, value_of(*key, node), place(name.source()));
  }

  [[nodiscard]] Value value_of(const Key& key, const toml::node& node) const {
    switch (key.kind) {
      case Kind::text:
        if (const auto* text = node.as_string()) return text->get();
        break;
      case Kind::path:
        if (const auto* text = node.as_string()) return beside_the_file(text->get());
        break;
      case Kind::list:
        if (const auto* text = node.as_string()) return text->get();
        if (const auto* list = node.as_array()) return joined(key, *list);
        break;
      case Kind::number:
        if (const auto* number = node.as_integer()) return number->get();
        break;
      case Kind::duration:
        if (const auto* text = node.as_string()) return duration_in(key, text->get(), node);
        break;
      case Kind::properties:
        if (const auto* table = node.as_table()) return properties_of(key, *table);
        break;
    }
    refuse_type(key, node);
  }

  [[noreturn]] void refuse_type(const Key& key, const toml::node& node) const {
    throw ConfigError(key.name, expectation(key) + ", got " + type_of(node) + " at " + place(node.source()));
  }

  [[nodiscard]] std::string beside_the_file(const std::string& path) const {
    if (path.empty()) return path;
    return (fs::absolute(path_).parent_path() / path).lexically_normal().string();
  }

  [[nodiscard]] std::string joined(const Key& key, const toml::array& list) const {
    std::string all;
    for (const toml::node& node : list) {
      const auto* text = node.as_string();
      if (text == nullptr) refuse_type(key, node);
      if (!all.empty()) all += ',';
      all += text->get();
    }
    return all;
  }

  [[nodiscard]] std::chrono::milliseconds duration_in(const Key& key, const std::string& text,
                                                      const toml::node& node) const {
    try {
      return parse_duration(text, key.name);
    } catch (const ConfigError& error) {
      throw ConfigError(key.name, std::string(error.what()) + ", at " + place(node.source()));
    }
  }

  /// librdkafka takes every value as text, so numbers and booleans may be written as such.
  [[nodiscard]] kafka::Properties properties_of(const Key& key, const toml::table& table) const {
    kafka::Properties properties;
    for (const auto& [name, node] : table) {
      std::string& text = properties[std::string(name.str())];
      if (const auto* string = node.as_string()) {
        text = string->get();
      } else if (const auto* number = node.as_integer()) {
        text = std::to_string(number->get());
      } else if (const auto* boolean = node.as_boolean()) {
        text = boolean->get() ? "true" : "false";
      } else {
        // A dotted key without quotes is a table inside a table.
        throw ConfigError(key.name, "property \"" + std::string(name.str()) + "\" in " + key.name +
                                        " must be a text, got " + type_of(node) + " at " + place(name.source()) +
                                        "; names with dots need quotes");
      }
    }
    return properties;
  }

  static std::string type_of(const toml::node& node) {
    switch (node.type()) {
      case toml::node_type::table:
        return "a table";
      case toml::node_type::array:
        return "a list";
      case toml::node_type::string:
        return "a text";
      case toml::node_type::integer:
        return "a whole number";
      case toml::node_type::floating_point:
        return "a fraction";
      case toml::node_type::boolean:
        return "true or false";
      default:
        return "a date or time";
    }
  }

  Settings& settings_;
  fs::path path_;
};

// ---- The environment ----

/// "ONCEMARK_MYSQL__PASSWORD_FILE" → "mysql.password_file"; nothing for a variable that is no setting.
std::optional<std::string> key_of(std::string_view variable_name) {
  if (!variable_name.starts_with(kVariablePrefix)) return std::nullopt;
  variable_name.remove_prefix(kVariablePrefix.size());
  const std::size_t divide = variable_name.find("__");
  if (divide == std::string_view::npos) return std::nullopt;
  std::string key(variable_name.substr(0, divide));
  key += '.';
  key += variable_name.substr(divide + 2);
  std::ranges::transform(key, key.begin(), [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  return key;
}

std::string variable_of(std::string_view key) {
  std::string name(kVariablePrefix);
  for (const char c : key) {
    if (c == '.') {
      name += "__";
    } else {
      name += c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c;
    }
  }
  return name;
}

kafka::Properties parse_properties(const Key& key, std::string_view text, const std::string& origin) {
  kafka::Properties properties;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find(';'), text.size());
    const std::string_view pair = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (pair.empty()) continue;
    const std::size_t equals = pair.find('=');
    if (equals == 0 || equals == std::string_view::npos) {
      throw ConfigError(key.name, origin + " must be name=value pairs separated by semicolons");
    }
    properties[std::string(pair.substr(0, equals))] = pair.substr(equals + 1);
  }
  return properties;
}

Value parse_variable(const Key& key, const std::string& text, const std::string& origin) {
  switch (key.kind) {
    case Kind::number: {
      std::int64_t number = 0;
      const char* const end = text.data() + text.size();
      const auto [stopped_at, error] = std::from_chars(text.data(), end, number);
      if (error != std::errc{} || stopped_at != end) throw ConfigError(key.name, expectation(key) + " in " + origin);
      return number;
    }
    case Kind::duration:
      return parse_duration(text, origin);
    case Kind::properties:
      return parse_properties(key, text, origin);
    default:
      return text;
  }
}

void read_environment(Settings& settings, const Environment& environment) {
  for (const auto& [name, text] : environment) {
    const auto key_name = key_of(name);
    if (!key_name) continue;
    const Key* key = find_key(*key_name);
    const std::string origin = "environment variable " + name;
    if (key == nullptr || variable_of(*key_name) != name) {
      refuse_key(*key_name, name, "in the environment", [](const std::string& near) { return variable_of(near); });
    }
    set_key(settings, *key, parse_variable(*key, text, origin), origin);
  }
}

}  // namespace

std::string_view Settings::origin_of(std::string_view key) const {
  const auto found = origins.find(key);
  return found == origins.end() ? std::string_view("default") : std::string_view(found->second);
}

Environment process_environment() {
  Environment variables;
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
    const std::string_view text(*entry);
    const std::size_t equals = text.find('=');
    if (equals != std::string_view::npos) variables.emplace(text.substr(0, equals), text.substr(equals + 1));
  }
  return variables;
}

std::optional<fs::path> find_file(const std::optional<fs::path>& named, const Environment& environment) {
  if (named) return named;
  if (const auto path = variable(environment, "ONCEMARK_CONFIG")) return *path;

  std::vector<fs::path> places{"oncemark.toml"};
  if (const auto folder = variable(environment, "XDG_CONFIG_HOME")) {
    places.push_back(fs::path(*folder) / "oncemark/oncemark.toml");
  } else if (const auto home = variable(environment, "HOME")) {
    places.push_back(fs::path(*home) / ".config/oncemark/oncemark.toml");
  }
  places.emplace_back("/etc/oncemark/oncemark.toml");
  for (const fs::path& place : places) {
    std::error_code ignored;  // a folder that cannot be entered holds no file for us
    if (fs::exists(place, ignored)) return place;
  }
  return std::nullopt;
}

Settings load(const std::optional<fs::path>& named, const Environment& environment) {
  Settings settings;
  if (const auto path = find_file(named, environment)) FileReader(settings, *path).read();
  read_environment(settings, environment);
  try {
    settings.topics.validate();
    settings.watchdog.resend.topics = settings.topics;
  } catch (const ConfigError& error) {
    throw ConfigError(error.key(),
                      std::string(error.what()) + " (" + std::string(settings.origin_of(error.key())) + ")");
  }
  return settings;
}

}  // namespace oncemark::config
