#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

namespace oncemark::binlog {

/// The largest event, and the largest value, that the servers can write (max_allowed_packet is at most 1 GiB).
inline constexpr std::size_t kMaxEventBytes = std::size_t{1} << 30;

/// CRC-32 as checksums of events use it.
[[nodiscard]] std::uint32_t crc32_of(std::string_view bytes) noexcept;

/// What MariaDB has compressed in an event (log_bin_compress): a head that tells the length, then zlib.
///
/// Errors:  BinlogError{malformed}. Memory grows with what comes out, not with what the head promises.
[[nodiscard]] std::string inflate_event_part(std::string_view bytes);

/// Unpacks what MySQL has compressed with zstd (binlog_transaction_compression), handing on piece by piece.
///
/// Errors:  BinlogError{malformed}; also when more comes out than `promised`.
void unpack_zstd(std::string_view bytes, std::size_t promised, const std::function<void(std::string_view)>& take);

}  // namespace oncemark::binlog
