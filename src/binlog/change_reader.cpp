#include "binlog/change_reader.hpp"

#include <algorithm>

#include <oncemark/binlog/errors.hpp>
#include <oncemark/core/clock.hpp>
#include <oncemark/message/names.hpp>
#include <oncemark/observe/log.hpp>

#include "binlog/json_binary.hpp"

namespace oncemark::binlog {
namespace {

Change change_of(Operation operation) noexcept {
  switch (operation) {
    case Operation::insert:
      return Change::insert;
    case Operation::update:
      return Change::update;
    default:
      return Change::remove;
  }
}

std::string_view word_of(Change change) noexcept {
  switch (change) {
    case Change::insert:
      return "insert";
    case Change::update:
      return "update";
    default:
      return "delete";
  }
}

bool fits(const ColumnFacts& facts, std::uint8_t kind) noexcept {
  const bool is_string = kind == kVarchar || kind == kVarString || kind == kString || kind == kVarcharCompressed ||
                         kind == kBlobCompressed || (kind >= kTinyBlob && kind <= kBlob);
  switch (facts.look) {
    case ColumnFacts::Look::number:
      return is_integer(kind) || kind == kFloat || kind == kDouble || kind == kYear || kind == kBit;
    case ColumnFacts::Look::words:
      return kind == kEnum;
    case ColumnFacts::Look::flags:
      return kind == kSet;
    case ColumnFacts::Look::json:
      return kind == kJson;
    case ColumnFacts::Look::bytes:
      return is_string || kind == kGeometry || kind == kVector;
    default:
      return is_string || kind == kDecimal || kind == kDate || kind == kNewDate || kind == kTime || kind == kOldTime ||
             kind == kDatetime || kind == kOldDatetime || kind == kTimestamp || kind == kOldTimestamp;
  }
}

/// Whether the table is now what it was when the rows were written, as far as the binlog tells.
bool is_same(const std::vector<ColumnFacts>& now, const TableMap& then) {
  if (now.size() != then.columns.size() || then.names.size() != now.size()) return false;
  for (std::size_t i = 0; i < now.size(); ++i) {
    const bool is_sign_known = is_integer(then.columns[i].kind) && i < then.is_unsigned.size();
    if (now[i].name != then.names[i] || !fits(now[i], then.columns[i].kind)) return false;
    if (is_sign_known && now[i].is_unsigned != then.is_unsigned[i]) return false;
  }
  return true;
}

bool contains(const std::vector<Change>& changes, Change change) {
  return changes.empty() || std::find(changes.begin(), changes.end(), change) != changes.end();
}

}  // namespace

ChangeReader::ChangeReader(mysql::Pool& pool, const CaptureOptions& options, Flavor flavor,
                           std::atomic<std::uint64_t>& filtered)
    : pool_(pool), options_(options), flavor_(flavor), filtered_(filtered) {
  for (const CapturedTable& captured : options.tables) {
    Table& table = tables_[captured.table];
    table.captured = &captured;
    for (const std::string& condition : captured.where) table.where.emplace_back(condition);
  }
}

bool ChangeReader::wants(std::string_view schema, std::string_view table) const {
  return schema == pool_.options().schema && tables_.contains(table);
}

bool ChangeReader::check(const Query& query) const {
  const std::string word = leading_words(query.text, 1);
  if (word == "TRUNCATE") {
    for (const auto& [name, table] : tables_) {
      if (query.text.find(name) == std::string::npos) continue;
      log(LogLevel::warn, "a table was truncated; no message tells of the rows that it had", {{"table", name}});
    }
  }
  for (const char* changing : {"INSERT", "REPLACE", "UPDATE", "DELETE", "LOAD", "WITH"}) {
    if (word != changing) continue;
    for (const auto& [name, table] : tables_) {
      if (query.text.find(name) == std::string::npos) continue;
      throw BinlogError(Trouble::unsupported, "a change that names " + name +
                                                  " is in the binlog as a statement and not as rows; set binlog_format "
                                                  "to ROW in every session");
    }
  }
  return false;
}

void ChangeReader::learn(Table& table, const std::shared_ptr<const TableMap>& map) {
  const std::string& name = table.captured->table;
  {
    const mysql::Pool::Lease connection = pool_.acquire();
    table.columns = ask_columns(*connection, name);
    connection->control("ROLLBACK");
  }
  if (map->names.empty()) {
    throw BinlogError(Trouble::unsupported,
                      "rows of table " + name +
                          " are in the binlog without the names of their columns; set "
                          "binlog_row_metadata to FULL, and start the capture from the present end");
  }
  if (!is_same(table.columns, *map)) {
    throw BinlogError(Trouble::unsupported, "table " + name +
                                                " was altered since its rows were written: what their columns were is "
                                                "not known any more; start the capture from the present end");
  }
  const auto find = [&](const std::string& column) {
    for (std::size_t i = 0; i < table.columns.size(); ++i) {
      if (table.columns[i].name == column) return i;
    }
    throw BinlogError(Trouble::unsupported, "table " + name + " has no column " + column + " to capture");
  };
  table.chosen.clear();
  for (const std::string& column : table.captured->columns) {
    table.chosen.resize(table.columns.size(), false);
    table.chosen[find(column)] = true;
  }
  for (const Condition& condition : table.where) (void)find(condition.column());
  table.has_key = !table.captured->key.empty();
  if (table.has_key) table.key = find(table.captured->key);
  table.map = map;
}

std::string ChangeReader::group_name(const GroupReader& group) const {
  GtidSet name(flavor_);
  name.add(group.gtid());
  return name.is_empty() ? group.file() + ":" + std::to_string(group.began_at()) : name.str();
}

bool ChangeReader::is_wanted(const Table& table, RowChange& change, const RowReader& rows) {
  const CapturedTable& captured = *table.captured;
  if (!contains(captured.changes, change.change)) return false;
  if (!captured.predicate && table.where.empty()) return true;
  if (change.change != Change::insert) change.before = to_image(rows.before(), table.columns);
  if (change.change != Change::remove) change.after = to_image(rows.after(), table.columns);
  return std::all_of(table.where.begin(), table.where.end(), [&](const Condition& one) { return one.holds(change); }) &&
         (!captured.predicate || captured.predicate(change));
}

// Rows are numbered before they are filtered, so that a filter that changes does not change their ids.
void ChangeReader::read(const RowsEvent& event, const GroupReader& group, const FeedHooks::Push& push) {
  Table& table = tables_.at(event.map->table);
  if (table.map != event.map) learn(table, event.map);
  if (std::string name = group_name(group); name != group_) {
    group_ = std::move(name);
    number_ = 0;
  }
  const std::vector<bool> all;
  RowReader rows(event, all);
  while (rows.next()) {
    ++number_;
    RowChange change{.change = change_of(event.operation), .schema = event.map->schema, .table = event.map->table};
    if (is_wanted(table, change, rows)) {
      push(to_row(table, change, rows, group));
    } else {
      ++filtered_;
    }
  }
}

outbox::OutboxRow ChangeReader::to_row(const Table& table, const RowChange& change, const RowReader& rows,
                                       const GroupReader& group) {
  const bool is_insert = change.change == Change::insert;
  const bool is_delete = change.change == Change::remove;
  const std::string at = format_rfc3339(Time(std::chrono::seconds(group.time())));
  std::string payload = R"({"op": ")" + std::string(word_of(change.change)) + R"(", "schema": )";
  append_json_string(payload, change.schema);
  payload += R"(, "table": )";
  append_json_string(payload, change.table);
  payload += R"(, "before": )" + (is_insert ? "null" : to_json(rows.before(), table.columns, table.chosen));
  payload += R"(, "after": )" + (is_delete ? "null" : to_json(rows.after(), table.columns, table.chosen));
  payload += R"(, "at": ")" + at + R"(", "place": )";
  append_json_string(payload, group_);
  payload += "}";

  outbox::OutboxRow row;
  row.message_id = options_.name + ":" + group_ + ":" + std::to_string(number_);
  row.record.topic = table.captured->topic;
  if (table.has_key) {
    const Image image = to_image(is_delete ? rows.before() : rows.after(), table.columns);
    const Bytes* key = image.find(table.captured->key);
    if (key == nullptr) {
      throw BinlogError(Trouble::unsupported, "a row of " + change.table + " lacks its key " + table.captured->key +
                                                  "; set binlog_row_image to FULL");
    }
    row.record.key = *key;
  }
  row.record.payload = std::move(payload);
  row.record.headers.append(std::string(names::kMessageId), row.message_id);
  row.record.headers.append(std::string(names::kEventTime), at);
  return row;
}

}  // namespace oncemark::binlog
