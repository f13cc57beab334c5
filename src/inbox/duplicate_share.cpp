#include "inbox/duplicate_share.hpp"

namespace oncemark::inbox {
namespace {

constexpr double kEnough = 100;
constexpr double kWindow = 2'000;  // then all counts are halved

}  // namespace

void DuplicateShare::add(std::size_t messages, std::size_t duplicates) noexcept {
  messages_ += static_cast<double>(messages);
  duplicates_ += static_cast<double>(duplicates);
  while (messages_ > kWindow) {
    messages_ /= 2;
    duplicates_ /= 2;
  }
  if (above_ <= 0 || messages_ < kEnough) return;
  const double limit = is_frequent_ ? above_ / 2 : above_;
  is_frequent_ = duplicates_ > limit * messages_;
}

}  // namespace oncemark::inbox
