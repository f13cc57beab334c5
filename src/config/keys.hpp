#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include <oncemark/config/settings.hpp>

namespace oncemark::config {

/// What a key takes; file and environment both end in one of these.
enum class Kind { text, path, list, number, duration, properties };

/// A list has become one text with commas, a path is complete.
using Value = std::variant<std::string, std::int64_t, std::chrono::milliseconds, kafka::Properties>;

struct Key {
  std::string name;  // "relay.batch"
  Kind kind;
  std::int64_t least = 0;  // numbers as they are, durations in milliseconds
  std::int64_t most = 0;
  std::function<void(Settings&, const Value&)> set;
  std::function<std::string(const Settings&)> show;  // the value as it would stand in a file
};

/// Every key there is, sorted by name.
[[nodiscard]] const std::vector<Key>& all_keys();
/// nullptr for an unknown one.
[[nodiscard]] const Key* find_key(std::string_view name);

/// "relay.batch must be a whole number from 1 to 10000": what the key expects.
[[nodiscard]] std::string expectation(const Key& key);

/// Sets the key after checking its range. `origin` says where the value stands.
void set_key(Settings& settings, const Key& key, const Value& value, const std::string& origin);

/// Throws the ConfigError for `name`, which is no key and stands as `shown` there (`where`: "at …", "in …"): with the nearest key, as
/// `spell` writes it in that place, or with how to pass a password.
[[noreturn]] void refuse_key(const std::string& name, const std::string& shown, const std::string& where,
                             const std::function<std::string(const std::string& key)>& spell);

/// Properties that hold a secret which has a file of its own.
void check_properties(const kafka::Properties& properties, const std::string& origin);

}  // namespace oncemark::config
