#include "binlog/outbox_reader.hpp"

#include <array>

#include <oncemark/core/clock.hpp>

namespace oncemark::binlog {
namespace {

struct Column {
  std::string_view name;
  std::uint8_t kind;
  bool is_wanted;
};

enum Index : std::size_t {
  kId,
  kMessageId,
  kPurpose,
  kRelay,
  kShard,
  kTopic,
  kMessageKey,
  kBusinessKey,
  kEventTime,
  kPayload,
  kHeaders,
  kStatus,
  kColumns,
};

constexpr std::array<Column, kColumns> kTable{{
    {"id", binlog::kLongLong, true},
    {"message_id", binlog::kVarchar, true},
    {"purpose", binlog::kVarchar, true},
    {"relay", binlog::kVarchar, true},
    {"shard", binlog::kTiny, false},
    {"topic", binlog::kVarchar, true},
    {"message_key", binlog::kBlob, true},
    {"business_key", binlog::kVarchar, false},
    {"event_time", binlog::kDatetime, true},
    {"payload", binlog::kBlob, true},
    {"headers", binlog::kBlob, true},
    {"status", binlog::kEnum, true},
}};
constexpr std::uint64_t kPending = 2;  // as numbered in the column's definition

[[noreturn]] void refuse(const std::string& why) {
  throw BinlogError(Trouble::unsupported, std::string(kOutboxTable) + " cannot be read from the binlog: " + why);
}

Bytes to_bytes(const Field& field) { return field.is_null() ? Bytes() : Bytes(field.bytes); }

void require_present(const std::vector<Field>& fields, const std::vector<bool>& wanted) {
  for (std::size_t i = 0; i < kColumns; ++i) {
    if (wanted[i] && fields[i].state == Field::State::absent) {
      refuse("a row lacks its " + std::string(kTable[i].name) +
             "; set binlog_row_image to FULL, on the server and in every session");
    }
  }
}

}  // namespace

OutboxReader::OutboxReader() : wanted_for_bell_(kColumns, false) {
  for (const Column& column : kTable) wanted_.push_back(column.is_wanted);
  wanted_for_bell_[kRelay] = wanted_for_bell_[kStatus] = true;
}

void OutboxReader::check(const TableMap& map) {
  if (map.columns.size() < kColumns) refuse("it has " + std::to_string(map.columns.size()) + " columns");
  for (std::size_t i = 0; i < kColumns; ++i) {
    const Column& wanted = kTable[i];
    if (map.columns[i].kind != wanted.kind || (!map.names.empty() && map.names[i] != wanted.name)) {
      refuse("its column " + std::to_string(i + 1) + " is not " + std::string(wanted.name) +
             " as `oncemark schema print` has it");
    }
  }
}

void OutboxReader::know(const std::shared_ptr<const TableMap>& map) {
  if (checked_ == map) return;
  check(*map);
  checked_ = map;
}

void OutboxReader::read(const RowsEvent& event, const Take& take) {
  know(event.map);
  RowReader rows(event, wanted_);
  while (rows.next()) {
    const std::vector<Field>& fields = rows.after();
    require_present(fields, wanted_);
    InsertedRow inserted;
    inserted.relay = std::string(fields[kRelay].bytes);
    inserted.is_pending = fields[kStatus].number == kPending;
    if (inserted.is_pending) {
      outbox::OutboxRow& row = inserted.row;
      row.id = fields[kId].number;
      row.message_id = std::string(fields[kMessageId].bytes);
      row.is_failure = !fields[kPurpose].bytes.empty();
      row.record.topic = std::string(fields[kTopic].bytes);
      row.record.key = to_bytes(fields[kMessageKey]);
      row.key = outbox::hash_of(row.record.key);
      row.record.payload = to_bytes(fields[kPayload]);
      set_headers(row, fields[kHeaders].bytes, parse_datetime(fields[kEventTime].text));
    }
    take(std::move(inserted));
  }
}

void OutboxReader::note_relays(const RowsEvent& event, std::set<std::string, std::less<>>& relays) {
  know(event.map);
  RowReader rows(event, wanted_for_bell_);
  while (rows.next()) {
    const std::vector<Field>& fields = rows.after();
    require_present(fields, wanted_for_bell_);
    const std::string_view relay = fields[kRelay].bytes;
    if (fields[kStatus].number == kPending && !relays.contains(relay)) relays.emplace(relay);
  }
}

void check_outbox_columns(mysql::Session& session) {
  const mysql::Rows rows = session.query(
      "SELECT COLUMN_NAME FROM information_schema.columns WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = "
      "'outbox_message' ORDER BY ORDINAL_POSITION",
      {});
  for (std::size_t i = 0; i < kColumns; ++i) {
    if (i < rows.size() && rows[i].get<std::string>(0) == kTable[i].name) continue;
    refuse("its column " + std::to_string(i + 1) + " is not " + std::string(kTable[i].name) +
           " as `oncemark schema print` has it");
  }
}

}  // namespace oncemark::binlog
