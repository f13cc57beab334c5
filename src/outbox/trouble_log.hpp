#pragma once

#include <chrono>
#include <string>
#include <utility>

#include <oncemark/core/clock.hpp>
#include <oncemark/observe/log.hpp>

namespace oncemark::outbox {

/// Says the same trouble once, and again every half minute while it lasts.
class TroubleLog {
 public:
  explicit TroubleLog(std::string relay, std::string who = "outbox relay")
      : relay_(std::move(relay)), who_(std::move(who)) {}

  void say(const std::string& error_class, const std::string& why) {
    if (error_class == said_ && std::chrono::steady_clock::now() < quiet_until_) return;
    said_ = error_class;
    quiet_until_ = std::chrono::steady_clock::now() + kAgainAfter;
    is_open_ = true;
    log(LogLevel::error, "the " + who_ + " cannot work; its rows wait, and it tries again",
        {{"relay", relay_}, {"error", error_class}, {"text", why}});
  }
  void over() {
    if (!is_open_) return;
    is_open_ = false;
    log(LogLevel::info, "the " + who_ + " works again", {{"relay", relay_}});
  }

 private:
  static constexpr std::chrono::seconds kAgainAfter{30};

  const std::string relay_;
  const std::string who_;
  std::string said_;
  SteadyTime quiet_until_{};
  bool is_open_ = false;
};

}  // namespace oncemark::outbox
