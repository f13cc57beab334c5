#include <oncemark/core/id.hpp>

#include <cerrno>
#include <mutex>
#include <random>

#include <sys/random.h>

#include "core/id_sequence.hpp"

namespace oncemark {
namespace {

// From the kernel each time and never from a buffer: a forked child must not repeat its parent's.
std::uint64_t random_bits() {
  std::uint64_t word = 0;
  for (;;) {
    if (::getrandom(&word, sizeof word, 0) == static_cast<ssize_t>(sizeof word)) return word;
    if (errno != EINTR) break;
  }
  std::random_device device;  // a kernel or sandbox without getrandom
  return std::uint64_t{device()} << 32 | device();
}

}  // namespace

MessageId MessageId::generate(Time now) {
  static std::mutex mutex;
  static IdSequence sequence;  // guarded by mutex

  const auto unix_ms = std::chrono::floor<std::chrono::milliseconds>(now).time_since_epoch().count();
  const std::uint64_t high_random = random_bits();
  const std::uint64_t low_random = random_bits();
  const std::lock_guard lock(mutex);
  MessageId id;
  id.bytes_ = sequence.next(unix_ms, high_random, low_random);
  return id;
}

std::string MessageId::str() const {
  constexpr std::string_view kHex = "0123456789abcdef";
  std::string text;
  text.reserve(36);
  for (std::size_t i = 0; i < bytes_.size(); ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10) text += '-';
    text += kHex[bytes_[i] >> 4];
    text += kHex[bytes_[i] & 0x0F];
  }
  return text;
}

Time MessageId::time() const {
  std::int64_t unix_ms = 0;
  for (std::size_t i = 0; i < 6; ++i) unix_ms = unix_ms << 8 | bytes_[i];
  return Time{std::chrono::milliseconds{unix_ms}};
}

std::uint64_t random_token() {
  for (;;) {
    if (const std::uint64_t token = random_bits(); token != 0) return token;
  }
}

}  // namespace oncemark
