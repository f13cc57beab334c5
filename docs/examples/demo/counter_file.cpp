#include "counter_file.hpp"

#include <array>
#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <oncemark/core/error.hpp>
#include <oncemark/observe/metric_names.hpp>

namespace demo {
namespace {

static_assert(std::atomic<std::uint64_t>::is_always_lock_free);

constexpr std::array<std::string_view, CounterFile::kOutcomes> kNames{"done", "duplicate", "retrying", "dead",
                                                                      "settled_elsewhere"};
constexpr std::size_t kBytes = CounterFile::kOutcomes * sizeof(std::uint64_t);

[[noreturn]] void fail(const std::string& path, const char* what) {
  throw oncemark::MisuseError("cannot " + std::string(what) + " the counter file " + path + ": " +
                              std::strerror(errno));
}

}  // namespace

CounterFile::CounterFile(const std::string& path) {
  const int file = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (file < 0) fail(path, "open");
  void* mapped = MAP_FAILED;
  if (::ftruncate(file, kBytes) == 0) mapped = ::mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  ::close(file);
  if (mapped == MAP_FAILED) fail(path, "map");
  counters_ = static_cast<std::atomic<std::uint64_t>*>(mapped);
}

CounterFile::~CounterFile() { ::munmap(counters_, kBytes); }

void CounterFile::count(std::string_view name, const oncemark::Labels& labels, double amount) noexcept {
  if (name != oncemark::metric::kConsumed) return;
  for (const auto& [label, value] : labels) {
    if (label != "outcome") continue;
    for (std::size_t i = 0; i < kNames.size(); ++i) {
      if (value == kNames[i]) counters_[i].fetch_add(static_cast<std::uint64_t>(amount), std::memory_order_relaxed);
    }
  }
}

}  // namespace demo
