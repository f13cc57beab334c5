// One target as libFuzzer calls it: ONCEMARK_FUZZ_TARGET names it. See tools/fuzz.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "fuzz/targets.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  oncemark::fuzz::ONCEMARK_FUZZ_TARGET({reinterpret_cast<const char*>(data), size});
  return 0;
}
