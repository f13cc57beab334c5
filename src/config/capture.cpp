#include <oncemark/config/capture.hpp>

#include <algorithm>
#include <array>
#include <limits>
#include <utility>

#include <toml++/toml.h>

#include <oncemark/config/values.hpp>
#include <oncemark/core/error.hpp>
#include <oncemark/observe/log.hpp>

#include "config/toml_file.hpp"

namespace oncemark::config {
namespace {

namespace fs = std::filesystem;
using binlog::CapturedTable;
using binlog::CaptureOptions;
using binlog::Change;

constexpr std::array<std::pair<std::string_view, Change>, 3> kChanges{
    {{"insert", Change::insert}, {"update", Change::update}, {"delete", Change::remove}}};

/// A table of the file, of which only some keys are known.
class Section {
 public:
  Section(const toml::table& table, std::string file, std::string name, const std::vector<std::string>& known)
      : table_(table), file_(std::move(file)), name_(std::move(name)) {
    for (const auto& [key, node] : table_) {
      const std::string word(key.str());
      if (std::find(known.begin(), known.end(), word) != known.end()) continue;
      const auto near = nearest(word, known);
      refuse(key.source(),
             "unknown key \"" + printable(word, 100) + "\"" + (near ? "; did you mean \"" + *near + "\"?" : ""));
    }
  }

  [[nodiscard]] const toml::node* find(std::string_view key) const { return table_.get(key); }

  [[nodiscard]] std::string text(std::string_view key, std::string otherwise = {}) const {
    const toml::node* node = find(key);
    if (node == nullptr) return otherwise;
    if (const auto* value = node->as_string()) return value->get();
    refuse(node->source(), std::string(key) + " must be a text");
  }

  /// Also a single text, for a list of one.
  [[nodiscard]] std::vector<std::string> texts(std::string_view key) const {
    const toml::node* node = find(key);
    if (node == nullptr) return {};
    if (const auto* value = node->as_string()) return {value->get()};
    const auto* list = node->as_array();
    const std::string expected = std::string(key) + " must be a text or a list of texts";
    if (list == nullptr) refuse(node->source(), expected);
    std::vector<std::string> all;
    for (const toml::node& one : *list) {
      const auto* value = one.as_string();
      if (value == nullptr) refuse(one.source(), expected);
      all.push_back(value->get());
    }
    return all;
  }

  [[nodiscard]] std::int64_t number(std::string_view key, std::int64_t otherwise, std::int64_t most) const {
    const toml::node* node = find(key);
    if (node == nullptr) return otherwise;
    const auto* value = node->as_integer();
    if (value != nullptr && value->get() >= 0 && value->get() <= most) return value->get();
    refuse(node->source(), std::string(key) + " must be a whole number from 0 to " + std::to_string(most));
  }

  /// Runs `work`, and says where in the file its error comes from.
  template <typename Work>
  auto at(const toml::source_region& where, Work&& work) const {
    try {
      return work();
    } catch (const Error& error) {
      refuse(where, error.what());
    }
  }

  [[noreturn]] void refuse(const toml::source_region& where, const std::string& why) const {
    throw ConfigError("capture", name_ + " in " + file_ + " line " + std::to_string(where.begin.line) + ", column " +
                                     std::to_string(where.begin.column) + ": " + why);
  }

 private:
  const toml::table& table_;
  const std::string file_;
  const std::string name_;
};

CapturedTable table_in(const toml::table& table, const std::string& file) {
  const Section section(table, file, "[[tables]]", {"table", "topic", "key", "changes", "columns", "where"});
  CapturedTable captured{.table = section.text("table"), .topic = section.text("topic"), .key = section.text("key")};
  if (captured.table.empty() || captured.topic.empty()) section.refuse(table.source(), "it needs a table and a topic");
  captured.columns = section.texts("columns");
  captured.where = section.texts("where");
  for (const std::string& word : section.texts("changes")) {
    const auto* found = std::ranges::find(kChanges, word, &std::pair<std::string_view, Change>::first);
    if (found == kChanges.end()) {
      section.refuse(section.find("changes")->source(),
                     "changes are insert, update and delete, not \"" + printable(word, 40) + "\"");
    }
    captured.changes.push_back(found->second);
  }
  section.at(table.source(), [&] { CaptureOptions{.tables = {captured}}.validate(); });
  return captured;
}

CaptureOptions options_in(const toml::table& root, const std::string& file) {
  const Section section(root, file, "the capture", {"name", "tables", "batch", "report_timeout", "server_id"});
  CaptureOptions options;
  options.name = section.text("name", options.name);
  options.batch = static_cast<std::size_t>(section.number("batch", static_cast<std::int64_t>(options.batch), 10'000));
  options.server_id =
      static_cast<std::uint32_t>(section.number("server_id", 0, std::numeric_limits<std::uint32_t>::max()));
  if (const toml::node* timeout = section.find("report_timeout")) {
    options.report_timeout =
        section.at(timeout->source(), [&] { return parse_duration(section.text("report_timeout"), "report_timeout"); });
  }
  const toml::node* tables = section.find("tables");
  if (tables == nullptr) section.refuse(root.source(), "it names no table; each is a [[tables]]");
  const auto* list = tables->as_array();
  if (list == nullptr) section.refuse(tables->source(), "each table is a [[tables]]");
  for (const toml::node& node : *list) {
    const toml::table* table = node.as_table();
    if (table == nullptr) section.refuse(node.source(), "each table is a [[tables]]");
    options.tables.push_back(table_in(*table, file));
  }
  section.at(root.source(), [&] { options.validate(); });
  return options;
}

}  // namespace

CaptureOptions load_capture(const fs::path& file) {
  return options_in(read_toml(file, "capture", "capture"), file.string());
}

}  // namespace oncemark::config
