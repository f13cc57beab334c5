#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "binlog/compression.hpp"

namespace oncemark::binlog {

/// Bytes of events, as a server would write them.
inline std::string le(std::uint64_t value, unsigned bytes) {
  std::string out;
  for (unsigned i = 0; i < bytes; ++i) out += static_cast<char>(i < 8 ? value >> (8 * i) : 0);
  return out;
}

inline std::string event(std::uint8_t type, std::string_view body, bool has_checksum = true, std::uint16_t flags = 0,
                         std::uint32_t next = 0, std::uint32_t server = 1) {
  const std::uint64_t size = 19 + body.size() + (has_checksum ? 4 : 0);
  std::string out =
      le(1'764'000'000, 4) + static_cast<char>(type) + le(server, 4) + le(size, 4) + le(next, 4) + le(flags, 2);
  out += body;
  if (has_checksum) out += le(crc32_of(out), 4);
  return out;
}

inline std::string format_description(bool has_checksums = true, std::string_view version = "10.11.14-MariaDB") {
  std::string body = le(4, 2) + std::string(version) + std::string(50 - version.size(), '\0') + le(0, 4) + '\x13';
  body += std::string(40, '\x08');
  body += has_checksums ? '\x01' : '\x00';
  return event(15, body);  // has its checksum in any case
}

inline std::string name(std::string_view text) { return static_cast<char>(text.size()) + std::string(text) + '\0'; }

inline std::string table_map(std::uint64_t id, std::string_view schema, std::string_view table, std::string_view kinds,
                             std::string_view metadata, std::string_view optional = {}) {
  return le(id, 6) + le(1, 2) + name(schema) + name(table) + static_cast<char>(kinds.size()) + std::string(kinds) +
         static_cast<char>(metadata.size()) + std::string(metadata) + std::string((kinds.size() + 7) / 8, '\xff') +
         std::string(optional);
}

inline std::string rows_v1(std::uint64_t table, std::uint8_t columns, std::string_view images, bool is_update = false) {
  const std::string all((columns + 7u) / 8u, '\xff');
  return le(table, 6) + le(1, 2) + static_cast<char>(columns) + all + (is_update ? all : "") + std::string(images);
}

}  // namespace oncemark::binlog
