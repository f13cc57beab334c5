#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "binlog/event.hpp"

namespace oncemark::binlog {

/// Turns the packets of a binlog stream into events.
///
/// Shape:   one packet is one event, or, where the server compresses transactions, several. Rows of tables that nobody
///          wants are Ignored, at little cost. An event that could hold anything of importance and is not known ends
///          the stream by an exception; known ones that hold nothing, and those that the server marks as ignorable,
///          are Ignored.
/// Threads: one owner. Views in an event live as long as the packet and the call.
/// Errors:  BinlogError for whatever the bytes are; nothing is read beyond their end, and memory grows by what is there
///          and not by what a length promises. After an exception the decoder must not be used again.
class Decoder final {
 public:
  using Wants = std::function<bool(std::string_view schema, std::string_view table)>;
  using Take = std::function<void(const EventHeader&, const Event&)>;

  explicit Decoder(Wants wants) : wants_(std::move(wants)) {}

  void decode(std::string_view packet, const Take& take);

 private:
  struct KnownMap {
    std::string body;                     // as it came
    std::shared_ptr<const TableMap> map;  // none: nobody wants it
  };

  [[nodiscard]] std::string_view without_checksum(const EventHeader& header, std::string_view packet);
  void decode_body(const EventHeader& header, std::string_view body, const Take& take);
  void format(const EventHeader& header, std::string_view body, const Take& take);
  void note_map(std::string_view body);
  void rows(const EventHeader& header, std::string_view body, const Take& take);
  void partial_rows(std::string_view body) const;
  void payload(const EventHeader& header, std::string_view body, const Take& take);

  Wants wants_;
  bool has_format_ = false;
  bool has_checksums_ = false;
  bool is_inside_payload_ = false;
  std::map<std::uint64_t, KnownMap> maps_;
};

}  // namespace oncemark::binlog
