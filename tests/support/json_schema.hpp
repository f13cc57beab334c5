#pragma once

#include <algorithm>
#include <regex>
#include <string>

#include <nlohmann/json.hpp>

namespace oncemark::testing {

/// The part of JSON Schema that docs/json.schema.json is written in.
class JsonSchema {
 public:
  explicit JsonSchema(nlohmann::json schema) : schema_(std::move(schema)) {}

  /// Empty when `line` is one of the things that the command may write; else what is wrong with it.
  [[nodiscard]] std::string complaint(const std::string& command, const nlohmann::json& line) const {
    const auto& commands = schema_.at("commands");
    if (!commands.contains(command)) return command + " is not in the schema";
    std::string all;
    for (const auto& name : commands.at(command)) {
      const std::string one = check(schema_.at("$defs").at(name.get<std::string>()), line, "");
      if (one.empty()) return {};
      all += "\n  as " + name.get<std::string>() + ": " + one;
    }
    return line.dump() + all;
  }

 private:
  using json = nlohmann::json;

  [[nodiscard]] std::string check(const json& rule, const json& value, const std::string& at) const {
    if (rule.contains("$ref")) {
      return check(schema_.at(json::json_pointer(rule.at("$ref").get<std::string>().substr(1))), value, at);
    }
    if (rule.contains("anyOf")) {
      const auto fits = [&](const json& one) { return check(one, value, at).empty(); };
      return std::ranges::any_of(rule.at("anyOf"), fits) ? "" : at + " fits nothing that it may be";
    }
    if (rule.contains("const") && value != rule.at("const")) return at + " is not " + rule.at("const").dump();
    if (rule.contains("enum") && std::ranges::find(rule.at("enum"), value) == rule.at("enum").end()) {
      return at + " is " + value.dump();
    }
    if (rule.contains("type") && !has_type(rule.at("type"), value)) return at + " is no " + rule.at("type").dump();
    if (rule.contains("pattern") &&
        !std::regex_match(value.get<std::string>(), std::regex(rule.at("pattern").get<std::string>()))) {
      return at + " has another form: " + value.dump();
    }
    if (value.is_array() && rule.contains("items")) {
      for (const json& item : value) {
        if (std::string wrong = check(rule.at("items"), item, at + "[]"); !wrong.empty()) return wrong;
      }
    }
    return value.is_object() ? check_members(rule, value, at) : std::string();
  }

  [[nodiscard]] std::string check_members(const json& rule, const json& value, const std::string& at) const {
    for (const json& name : rule.at("required")) {
      if (!value.contains(name.get<std::string>())) return at + " lacks " + name.dump();
    }
    for (const auto& [name, member] : value.items()) {
      if (!rule.at("properties").contains(name)) return at + " has " + name + ", which the schema does not name";
      if (std::string wrong = check(rule.at("properties").at(name), member, at + "." + name); !wrong.empty())
        return wrong;
    }
    return {};
  }

  static bool has_type(const json& type, const json& value) {
    return (type == "string" && value.is_string()) || (type == "integer" && value.is_number_integer()) ||
           (type == "number" && value.is_number()) || (type == "boolean" && value.is_boolean()) ||
           (type == "null" && value.is_null()) || (type == "array" && value.is_array()) ||
           (type == "object" && value.is_object());
  }

  json schema_;
};

}  // namespace oncemark::testing
