#include "binlog/decoder.hpp"

#include <algorithm>
#include <optional>

#include "binlog/compression.hpp"

namespace oncemark::binlog {
namespace {

enum Type : std::uint8_t {
  kQuery = 2,
  kStop = 3,
  kRotate = 4,
  kIntvar = 5,
  kRand = 13,
  kUserVar = 14,
  kFormatDescription = 15,
  kXid = 16,
  kTableMap = 19,
  kWriteRowsV1 = 23,
  kUpdateRowsV1 = 24,
  kDeleteRowsV1 = 25,
  kIncident = 26,
  kHeartbeat = 27,
  kIgnorable = 28,
  kRowsQuery = 29,
  kWriteRowsV2 = 30,
  kUpdateRowsV2 = 31,
  kDeleteRowsV2 = 32,
  kGtid = 33,
  kAnonymousGtid = 34,
  kPreviousGtids = 35,
  kTransactionContext = 36,
  kViewChange = 37,
  kXaPrepare = 38,
  kPartialUpdateRows = 39,
  kTransactionPayload = 40,
  kHeartbeatV2 = 41,
  kGtidTagged = 42,
  kAnnotateRows = 160,
  kBinlogCheckpoint = 161,
  kGtidOfMariadb = 162,
  kGtidList = 163,
  kStartEncryption = 164,
  kQueryCompressed = 165,
  kWriteRowsCompressed = 166,
  kUpdateRowsCompressed = 167,
  kDeleteRowsCompressed = 168,
};

constexpr std::size_t kHeaderBytes = 19;
constexpr std::size_t kChecksumBytes = 4;
constexpr std::size_t kMaxMaps = 65'536;
constexpr std::uint64_t kDummyTable = 0x00ffffff;  // ends a statement whose tables are all passed over
constexpr std::size_t kUuidBytes = 16;

EventHeader read_header(std::string_view packet) {
  if (packet.size() < kHeaderBytes)
    refuse_bytes("an event of " + std::to_string(packet.size()) + " bytes has no header");
  Cursor cursor(packet);
  EventHeader header;
  header.time = static_cast<std::uint32_t>(cursor.little(4));
  header.type = cursor.byte();
  header.server_id = static_cast<std::uint32_t>(cursor.little(4));
  header.size = static_cast<std::uint32_t>(cursor.little(4));
  header.next = static_cast<std::uint32_t>(cursor.little(4));
  header.flags = static_cast<std::uint16_t>(cursor.little(2));
  if (header.size != packet.size()) {
    refuse_bytes("an event of type " + std::to_string(header.type) + " says that it has " +
                 std::to_string(header.size) + " bytes, and has " + std::to_string(packet.size()));
  }
  return header;
}

bool has_valid_checksum(std::string_view packet) {
  if (packet.size() < kHeaderBytes + kChecksumBytes) return false;
  Cursor checksum(packet.substr(packet.size() - kChecksumBytes));
  return checksum.little(4) == crc32_of(packet.substr(0, packet.size() - kChecksumBytes));
}

Rotate read_rotate(std::string_view body) {
  Cursor cursor(body);
  Rotate rotate;
  rotate.position = cursor.little(8);
  rotate.file = std::string(cursor.rest());
  if (rotate.file.empty() || rotate.file.size() > 512) refuse_bytes("a rotation names no file");
  return rotate;
}

Query read_query(std::string_view body, bool is_compressed) {
  Cursor cursor(body);
  cursor.take(8);  // thread, seconds it took
  const std::uint64_t schema_bytes = cursor.byte();
  cursor.take(2);  // error code
  cursor.take(cursor.little(2));
  Query query;
  query.schema = std::string(cursor.take(schema_bytes));
  cursor.take(1);
  query.text = is_compressed ? inflate_event_part(cursor.rest()) : std::string(cursor.rest());
  return query;
}

Gtid read_gtid(std::string_view body) {
  Cursor cursor(body);
  cursor.take(1);  // flags
  Gtid gtid;
  gtid.source = std::string(cursor.take(kUuidBytes));
  gtid.number = cursor.little(8);
  if (gtid.number == 0) refuse_bytes("a GTID has the number 0");
  return gtid;
}

// An integer of MySQL's serialization library: as many low bits set in the first byte as bytes follow.
std::uint64_t read_variable(Cursor& cursor) {
  const std::uint8_t first = cursor.byte();
  unsigned more = 0;
  while (more < 8 && (first >> more & 1u) != 0) ++more;
  if (more == 8) return cursor.little(8);
  const std::uint64_t low = static_cast<std::uint64_t>(first) >> (more + 1);
  const std::uint64_t high = more == 0 ? 0 : cursor.little(more);
  return low | high << (7 - more);
}

// Fields with numbers, in ascending order; those after the ones that are read here say nothing that is needed.
Gtid read_tagged_gtid(std::string_view body) {
  constexpr std::uint64_t kFlags = 0;
  constexpr std::uint64_t kUuid = 1;
  constexpr std::uint64_t kNumber = 2;
  constexpr std::uint64_t kTag = 3;
  Cursor cursor(body);
  if (read_variable(cursor) > 1) {
    throw BinlogError(Trouble::unsupported, "a tagged GTID has a serialization version above 1");
  }
  read_variable(cursor);  // bytes
  read_variable(cursor);  // last field that must not be ignored
  Gtid gtid;
  std::string tag;
  for (std::uint64_t last = 0; !cursor.is_at_end() && last < kTag;) {
    last = read_variable(cursor);
    if (last == kFlags) {
      read_variable(cursor);
    } else if (last == kUuid) {
      for (std::size_t i = 0; i < kUuidBytes; ++i) gtid.source += static_cast<char>(read_variable(cursor));
    } else if (last == kNumber) {
      gtid.number = read_variable(cursor) >> 1;  // signed, the sign in the lowest bit
    } else if (last == kTag) {
      tag = std::string(cursor.take(read_variable(cursor)));
    } else {
      break;
    }
  }
  if (gtid.source.size() != kUuidBytes || gtid.number == 0) refuse_bytes("a tagged GTID names no transaction");
  gtid.source += tag;
  return gtid;
}

Gtid read_mariadb_gtid(const EventHeader& header, std::string_view body) {
  constexpr unsigned kStandalone = 1;
  constexpr unsigned kPreparedXa = 64;
  Cursor cursor(body);
  Gtid gtid;
  gtid.number = cursor.little(8);
  gtid.domain = static_cast<std::uint32_t>(cursor.little(4));
  gtid.server = header.server_id;
  const unsigned flags = cursor.byte();
  gtid.is_standalone = (flags & kStandalone) != 0;
  gtid.is_prepared = (flags & kPreparedXa) != 0;
  if (gtid.number == 0) refuse_bytes("a GTID has the number 0");
  return gtid;
}

std::optional<Operation> operation_of(std::uint8_t type) noexcept {
  switch (type) {
    case kWriteRowsV1:
    case kWriteRowsV2:
    case kWriteRowsCompressed:
      return Operation::insert;
    case kUpdateRowsV1:
    case kUpdateRowsV2:
    case kUpdateRowsCompressed:
      return Operation::update;
    case kDeleteRowsV1:
    case kDeleteRowsV2:
    case kDeleteRowsCompressed:
      return Operation::remove;
    default:
      return std::nullopt;
  }
}

bool is_compressed(std::uint8_t type) noexcept { return type >= kQueryCompressed && type <= kDeleteRowsCompressed; }
bool has_extra_head(std::uint8_t type) noexcept { return type >= kWriteRowsV2 && type <= kDeleteRowsV2; }

// Known, and of no consequence for rows: what they announce is announced again by what follows.
bool is_harmless(std::uint8_t type) noexcept {
  switch (type) {
    case kStop:
    case kIntvar:  // these three prepare a statement, which comes as a Query and is judged there
    case kRand:
    case kUserVar:
    case kHeartbeat:
    case kIgnorable:
    case kRowsQuery:
    case kPreviousGtids:
    case kTransactionContext:
    case kViewChange:
    case kHeartbeatV2:
    case kAnnotateRows:
    case kBinlogCheckpoint:
    case kGtidList:
    case kStartEncryption:  // what is sent is clear text
      return true;
    default:
      return false;
  }
}

}  // namespace

bool RowReader::next() {
  if (images_.is_at_end()) return false;
  const std::size_t left = images_.left();
  const TableMap& map = *event_.map;
  if (event_.operation == Operation::insert) {
    read_image(images_, map, event_.before, wanted_, after_);
  } else {
    read_image(images_, map, event_.before, wanted_, before_);
    if (event_.operation == Operation::update) read_image(images_, map, event_.after, wanted_, after_);
  }
  if (images_.left() == left) refuse_bytes("rows of " + map.schema + "." + map.table + " have no columns");
  return true;
}

void Decoder::decode(std::string_view packet, const Take& take) {
  if (packet.size() > kMaxEventBytes) refuse_bytes("an event is larger than 1 GiB");
  const EventHeader header = read_header(packet);
  decode_body(header, without_checksum(header, packet), take);
}

// Before the format is known there is one event: a rotation made up for us, with a checksum if the server writes them.
std::string_view Decoder::without_checksum(const EventHeader& header, std::string_view packet) {
  const std::string_view body = packet.substr(kHeaderBytes);
  if (header.type == kFormatDescription) return body;
  const bool has_checksum = has_format_ ? has_checksums_ : has_valid_checksum(packet);
  if (!has_checksum) return body;
  if (!has_valid_checksum(packet)) {
    refuse_bytes("the checksum of an event of type " + std::to_string(header.type) +
                 " is wrong: its bytes are damaged");
  }
  return body.substr(0, body.size() - kChecksumBytes);
}

void Decoder::decode_body(const EventHeader& header, std::string_view body, const Take& take) {
  switch (header.type) {
    case kFormatDescription:
      return format(header, body, take);
    case kRotate:
      maps_.clear();
      return take(header, read_rotate(body));
    case kQuery:
    case kQueryCompressed:
      return take(header, read_query(body, is_compressed(header.type)));
    case kXid:
      return take(header, Commit{});
    case kXaPrepare:
      // The body's first byte: committed in one phase, and not only prepared.
      return take(header, Cursor(body).byte() != 0 ? Event(Commit{}) : Event(Prepared{}));
    case kTableMap:
      note_map(body);
      return take(header, Ignored{});
    case kGtid:
      return take(header, read_gtid(body));
    case kAnonymousGtid:
      return take(header, Gtid{});
    case kGtidTagged:
      return take(header, read_tagged_gtid(body));
    case kGtidOfMariadb:
      return take(header, read_mariadb_gtid(header, body));
    case kPartialUpdateRows:
      partial_rows(body);
      return take(header, Ignored{});
    case kTransactionPayload:
      return payload(header, body, take);
    case kIncident:
      throw BinlogError(Trouble::purged,
                        "the server says that its binlog has lost events (incident); what was committed around here is "
                        "known to its tables only");
    default:
      break;
  }
  if (operation_of(header.type)) return rows(header, body, take);
  if (is_harmless(header.type) || header.is_ignorable()) return take(header, Ignored{});
  throw BinlogError(Trouble::unsupported,
                    "an event of type " + std::to_string(header.type) +
                        " is not known to this library, which does not pass over what may matter");
}

// Its checksum algorithm and checksum are there whether checksums are in use or not.
void Decoder::format(const EventHeader& header, std::string_view body, const Take& take) {
  if (is_inside_payload_) refuse_bytes("a format description lies within a transaction");
  Cursor cursor(body);
  const std::uint64_t version = cursor.little(2);
  const std::string_view server = cursor.take(50);
  cursor.take(4);
  const std::uint8_t header_bytes = cursor.byte();
  if (version != 4 || header_bytes != kHeaderBytes || cursor.left() < kChecksumBytes + 1) {
    throw BinlogError(Trouble::unsupported, "the binlog has the format " + std::to_string(version) +
                                                "; this library reads format 4 with checksums (MySQL 5.6 and newer)");
  }
  const auto algorithm = static_cast<unsigned char>(body[body.size() - kChecksumBytes - 1]);
  if (algorithm > 1) {
    throw BinlogError(Trouble::unsupported, "the binlog has checksums of the kind " + std::to_string(algorithm) +
                                                "; this library knows NONE and CRC32 (binlog_checksum)");
  }
  has_format_ = true;
  has_checksums_ = algorithm == 1;
  maps_.clear();
  take(header, FormatDescription{std::string(server.substr(0, server.find('\0')))});
}

// The same map comes again with every statement.
void Decoder::note_map(std::string_view body) {
  const TableName name = read_table_name(body);
  const auto known = maps_.find(name.id);
  if (known != maps_.end() && known->second.body == body) return;
  if (known == maps_.end() && maps_.size() >= kMaxMaps) maps_.clear();
  KnownMap fresh{.body = std::string(body), .map = nullptr};
  if (wants_(name.schema, name.table)) fresh.map = std::make_shared<const TableMap>(read_table_map(body));
  maps_.insert_or_assign(name.id, std::move(fresh));
}

void Decoder::rows(const EventHeader& header, std::string_view body, const Take& take) {
  Cursor cursor(body);
  const std::uint64_t id = cursor.little(6);
  cursor.take(2);  // flags
  if (id == kDummyTable) return take(header, Ignored{});
  const auto known = maps_.find(id);
  if (known == maps_.end()) refuse_bytes("rows come without the map of their table");
  if (!known->second.map) return take(header, Ignored{});
  if (has_extra_head(header.type)) {
    const std::uint64_t extra = cursor.little(2);  // counts itself
    if (extra < 2) refuse_bytes("the extra head of rows has " + std::to_string(extra) + " bytes");
    cursor.take(extra - 2);
  }
  RowsEvent event;
  event.operation = *operation_of(header.type);
  event.map = known->second.map;
  const std::uint64_t columns = cursor.packed();
  if (columns != event.map->columns.size()) {
    refuse_bytes("rows of " + event.map->schema + "." + event.map->table + " have " + std::to_string(columns) +
                 " columns, and their map " + std::to_string(event.map->columns.size()));
  }
  event.before = ColumnBits(cursor.take((columns + 7) / 8));
  if (event.operation == Operation::update) event.after = ColumnBits(cursor.take((columns + 7) / 8));
  if (!is_compressed(header.type)) {
    event.images = cursor.rest();
    return take(header, event);
  }
  const std::string inflated = inflate_event_part(cursor.rest());
  event.images = inflated;
  take(header, event);
}

// Updates that hold only what has changed within JSON documents.
void Decoder::partial_rows(std::string_view body) const {
  const auto known = maps_.find(Cursor(body).little(6));
  if (known == maps_.end()) refuse_bytes("rows come without the map of their table");
  if (!known->second.map) return;
  throw BinlogError(Trouble::unsupported, "rows of " + known->second.map->schema + "." + known->second.map->table +
                                              " come as partial JSON, which this library does not read; unset "
                                              "binlog_row_value_options");
}

// A whole transaction in one event: fields, each with type, length and value, then the events, without checksums.
void Decoder::payload(const EventHeader& header, std::string_view body, const Take& take) {
  enum Part : std::uint64_t { kEnd = 0, kSize = 1, kAlgorithm = 2, kUnpackedSize = 3 };
  constexpr std::uint64_t kZstd = 0;
  constexpr std::uint64_t kUncompressed = 255;
  if (is_inside_payload_) refuse_bytes("a compressed transaction lies within another one");
  Cursor cursor(body);
  std::uint64_t size = 0;
  std::uint64_t algorithm = kUncompressed;
  std::uint64_t unpacked = 0;
  for (std::uint64_t field = cursor.packed(); field != kEnd; field = cursor.packed()) {
    Cursor value(cursor.take(cursor.packed()));
    if (field == kSize) size = value.packed();
    if (field == kAlgorithm) algorithm = value.packed();
    if (field == kUnpackedSize) unpacked = value.packed();
  }
  const std::string_view packed = cursor.take(size);

  is_inside_payload_ = true;
  std::string held;  // what has come out and is not a whole event yet
  const auto take_events = [&](std::string_view piece) {
    held += piece;
    std::size_t begin = 0;
    while (held.size() - begin >= kHeaderBytes) {
      const std::string_view rest = std::string_view(held).substr(begin);
      const std::uint64_t event_size = Cursor(rest.substr(9)).little(4);
      if (event_size < kHeaderBytes || event_size > kMaxEventBytes) {
        refuse_bytes("an event within a compressed transaction has " + std::to_string(event_size) + " bytes");
      }
      if (rest.size() < event_size) break;
      const std::string_view packet = rest.substr(0, static_cast<std::size_t>(event_size));
      EventHeader inner = read_header(packet);
      inner.next = header.next;  // it has no position of its own
      decode_body(inner, packet.substr(kHeaderBytes), take);
      begin += packet.size();
    }
    held.erase(0, begin);
  };
  if (algorithm == kZstd) {
    unpack_zstd(packed, static_cast<std::size_t>(unpacked), take_events);
  } else if (algorithm == kUncompressed) {
    take_events(packed);
  } else {
    throw BinlogError(Trouble::unsupported, "a transaction is compressed by the algorithm " +
                                                std::to_string(algorithm) + "; this library knows zstd");
  }
  is_inside_payload_ = false;
  if (!held.empty()) refuse_bytes("a compressed transaction ends within an event");
}

}  // namespace oncemark::binlog
