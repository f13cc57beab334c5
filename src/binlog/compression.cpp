#include "binlog/compression.hpp"

#include <algorithm>
#include <memory>
#include <vector>

#include <zlib.h>
#include <zstd.h>

#include "binlog/cursor.hpp"

namespace oncemark::binlog {
namespace {

constexpr std::size_t kPiece = 64 * 1024;

struct Inflater {
  Inflater() {
    if (inflateInit(&stream) != Z_OK) throw std::bad_alloc();
  }
  ~Inflater() { inflateEnd(&stream); }
  Inflater(const Inflater&) = delete;
  Inflater& operator=(const Inflater&) = delete;
  z_stream stream{};
};

// zlib's interface takes no const bytes, and changes none.
Bytef* to_zlib(std::string_view bytes) { return reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data())); }

std::string inflate_exactly(std::string_view bytes, std::size_t size) {
  Inflater inflater;
  z_stream& stream = inflater.stream;
  stream.next_in = to_zlib(bytes);
  stream.avail_in = static_cast<uInt>(bytes.size());
  std::string out;
  for (int status = Z_OK; status != Z_STREAM_END;) {
    const std::size_t so_far = out.size();
    if (so_far > size) refuse_bytes("a compressed event holds more than it promises");
    out.resize(so_far + std::min(kPiece, size - so_far + 1));
    stream.next_out = reinterpret_cast<Bytef*>(out.data() + so_far);
    stream.avail_out = static_cast<uInt>(out.size() - so_far);
    status = inflate(&stream, Z_NO_FLUSH);
    out.resize(out.size() - stream.avail_out);
    if (status != Z_STREAM_END && (status != Z_OK || out.size() == so_far)) {
      refuse_bytes("a compressed event cannot be inflated: zlib " + std::to_string(status));
    }
  }
  if (out.size() != size)
    refuse_bytes("a compressed event holds " + std::to_string(out.size()) + " bytes, not " + std::to_string(size));
  return out;
}

}  // namespace

std::uint32_t crc32_of(std::string_view bytes) noexcept {
  return static_cast<std::uint32_t>(crc32_z(crc32_z(0, nullptr, 0), to_zlib(bytes), bytes.size()));
}

// The head's first byte: a set bit, three bits for the algorithm (0 is zlib), and how many bytes the length has.
std::string inflate_event_part(std::string_view bytes) {
  Cursor cursor(bytes);
  const std::uint8_t head = cursor.byte();
  const unsigned width = head & 0x07u;
  if ((head & 0xf8u) != 0x80u || width < 1 || width > 4) {
    refuse_bytes("a compressed event begins with " + std::to_string(head));
  }
  const std::uint64_t size = cursor.big(width);
  if (size > kMaxEventBytes || cursor.left() > kMaxEventBytes) refuse_bytes("a compressed event is too large");
  return inflate_exactly(cursor.rest(), static_cast<std::size_t>(size));
}

void unpack_zstd(std::string_view bytes, std::size_t promised, const std::function<void(std::string_view)>& take) {
  const std::unique_ptr<ZSTD_DCtx, decltype(&ZSTD_freeDCtx)> context(ZSTD_createDCtx(), &ZSTD_freeDCtx);
  if (!context) throw std::bad_alloc();
  std::vector<char> piece(kPiece);
  ZSTD_inBuffer in{bytes.data(), bytes.size(), 0};
  std::size_t total = 0;
  for (bool is_more = true; is_more;) {
    ZSTD_outBuffer out{piece.data(), piece.size(), 0};
    const std::size_t consumed = in.pos;
    const std::size_t status = ZSTD_decompressStream(context.get(), &out, &in);
    if (ZSTD_isError(status) != 0) {
      refuse_bytes(std::string("a compressed transaction cannot be unpacked: zstd: ") + ZSTD_getErrorName(status));
    }
    total += out.pos;
    if (total > promised) refuse_bytes("a compressed transaction holds more than it promises");
    if (out.pos > 0) take(std::string_view(piece.data(), out.pos));
    const bool is_stuck = out.pos == 0 && in.pos == consumed;
    is_more = status != 0 || in.pos < in.size;
    if (is_more && is_stuck) refuse_bytes("a compressed transaction ends too early");
  }
  if (total != promised) refuse_bytes("a compressed transaction holds less than it promises");
}

}  // namespace oncemark::binlog
