#include "schema_verify.hpp"

#include <algorithm>
#include <map>
#include <regex>
#include <set>

#include <oncemark/mysql/migration.hpp>

namespace oncemark::tools {
namespace {

struct Column {
  std::string type;  // as information_schema has it, without display widths
  bool is_nullable = false;
  bool is_ascii = false;  // ascii_bin
};

struct Shape {
  std::map<std::string, Column> columns;
  std::vector<std::string> keys;  // "PRIMARY(a,b)" and "once(a,b)": the unique ones
  std::string engine = "innodb";
};

std::string lower(std::string text) {
  std::ranges::transform(text, text.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return text;
}

/// "int(10) unsigned" and "int unsigned" are the same.
std::string without_width(const std::string& type) {
  static const std::regex kWidth("^(tinyint|smallint|int|bigint)\\([0-9]+\\)");
  return std::regex_replace(lower(type), kWidth, "$1");
}

std::string without_spaces(std::string text) {
  std::erase_if(text, [](char c) { return c == ' ' || c == '\n'; });
  return text;
}

Column column_of(const std::string& definition) {
  static const std::regex kType("^([A-Za-z]+(?:\\([^)]*\\))?(?: UNSIGNED)?)", std::regex::icase);
  Column column;
  std::smatch type;
  if (std::regex_search(definition, type, kType)) column.type = without_width(type[1]);
  std::erase(column.type, ' ');
  if (column.type.ends_with("unsigned")) column.type.insert(column.type.size() - 8, " ");
  column.is_nullable = definition.find("NOT NULL") == std::string::npos;
  column.is_ascii = definition.find("COLLATE ascii_bin") != std::string::npos;
  return column;
}

/// Only what our migrations use is understood: CREATE TABLE, one definition a line or continued, ADD COLUMN, and an ENUM
/// that is widened by MODIFY COLUMN.
std::map<std::string, Shape> shapes_of_migrations() {
  static const std::regex kComment("--[^\n]*");
  static const std::regex kCreate("CREATE TABLE IF NOT EXISTS (\\w+) \\(([^;]*?)\n\\) ENGINE");
  static const std::regex kAlter("ALTER TABLE (\\w+)((?:\\s+ADD COLUMN [^,']+,?)+)");
  static const std::regex kAdded("ADD COLUMN (\\w+) ([^,']+)");
  static const std::regex kWidened("ALTER TABLE (\\w+)\\s+MODIFY COLUMN (\\w+) (ENUM\\([^)]*\\))");
  static const std::regex kKey("^(PRIMARY KEY|UNIQUE KEY (\\w+)) \\(([^)]*)\\)");
  std::map<std::string, Shape> shapes;
  for (const mysql::Migration& migration : mysql::migrations()) {
    const std::string sql = std::regex_replace(migration.sql, kComment, "");
    for (std::sregex_iterator at(sql.begin(), sql.end(), kCreate), end; at != end; ++at) {
      Shape& shape = shapes[(*at)[1]];
      const std::string body = (*at)[2];
      static const std::regex kBetween(",[ \t]*\n");
      for (std::sregex_token_iterator line(body.begin(), body.end(), kBetween, -1), last; line != last; ++line) {
        std::string text = std::regex_replace(line->str(), std::regex("\\s+"), " ");
        text.erase(0, text.find_first_not_of(' '));
        std::smatch key;
        if (std::regex_search(text, key, kKey)) {
          shape.keys.push_back((key[2].matched ? key[2].str() : "PRIMARY") + "(" + without_spaces(key[3]) + ")");
        } else if (!text.empty() && !text.starts_with("KEY ")) {
          const std::size_t space = text.find(' ');
          shape.columns[text.substr(0, space)] = column_of(text.substr(space + 1));
        }
      }
    }
    for (std::sregex_iterator at(sql.begin(), sql.end(), kAlter), end; at != end; ++at) {
      const std::string changes = (*at)[2];
      for (std::sregex_iterator added(changes.begin(), changes.end(), kAdded), last; added != last; ++added) {
        shapes[(*at)[1]].columns[(*added)[1]] = column_of((*added)[2]);
      }
    }
    for (std::sregex_iterator at(sql.begin(), sql.end(), kWidened), end; at != end; ++at) {
      const std::string type = std::regex_replace((*at)[3].str(), std::regex("''"), "'");  // it stands in a string
      shapes[(*at)[1]].columns[(*at)[2]].type = column_of(type).type;
    }
  }
  return shapes;
}

std::map<std::string, Shape> shapes_of_database(mysql::Pool& pool) {
  return pool.transact([](mysql::Transaction& tx) {
    std::map<std::string, Shape> shapes;
    for (const mysql::Row& row : tx.query("SELECT CAST(table_name AS CHAR), CAST(engine AS CHAR) FROM "
                                          "information_schema.tables WHERE table_schema = DATABASE()")) {
      shapes[row.get<std::string>(0)].engine = lower(row.get<std::optional<std::string>>(1).value_or("none"));
    }
    for (const mysql::Row& row : tx.query(
             "SELECT CAST(table_name AS CHAR), CAST(column_name AS CHAR), CAST(column_type AS CHAR), is_nullable = "
             "'YES', COALESCE(collation_name = 'ascii_bin', FALSE) FROM information_schema.columns WHERE "
             "table_schema = DATABASE()")) {
      Column& column = shapes[row.get<std::string>(0)].columns[row.get<std::string>(1)];
      column.type = without_width(row.get<std::string>(2));
      column.is_nullable = row.get<bool>(3);
      column.is_ascii = row.get<bool>(4);
    }
    for (const mysql::Row& row :
         tx.query("SELECT CAST(table_name AS CHAR), CONCAT(index_name, '(', GROUP_CONCAT(column_name ORDER BY "
                  "seq_in_index), "
                  "')') FROM information_schema.statistics WHERE table_schema = DATABASE() AND non_unique = 0 GROUP BY "
                  "table_name, index_name")) {
      shapes[row.get<std::string>(0)].keys.push_back(row.get<std::string>(1));
    }
    return shapes;
  });
}

std::string described(const Column& column) {
  return column.type + (column.is_ascii ? " ascii_bin" : "") + (column.is_nullable ? " NULL" : " NOT NULL");
}

}  // namespace

std::vector<Deviation> schema_deviations(mysql::Pool& pool) {
  std::vector<Deviation> found;
  const auto there = shapes_of_database(pool);
  for (const auto& [table, wanted] : shapes_of_migrations()) {
    const auto at = there.find(table);
    if (at == there.end()) {
      found.push_back({table, "is missing"});
      continue;
    }
    const Shape& shape = at->second;
    if (shape.engine != wanted.engine) found.push_back({table, "is of engine " + shape.engine + ", not InnoDB"});
    for (const auto& [name, column] : wanted.columns) {
      const auto is = shape.columns.find(name);
      if (is == shape.columns.end()) {
        found.push_back({table + "." + name, "is missing"});
      } else if (described(is->second) != described(column)) {
        found.push_back({table + "." + name, "is " + described(is->second) + ", not " + described(column)});
      }
    }
    for (const std::string& key : wanted.keys) {
      if (std::ranges::find(shape.keys, key) == shape.keys.end()) found.push_back({table, "has no unique key " + key});
    }
  }
  return found;
}

}  // namespace oncemark::tools
