#include <oncemark/core/faults.hpp>

#include <algorithm>
#include <atomic>
#include <charconv>
#include <csignal>
#include <cstdlib>
#include <mutex>
#include <optional>

#include <unistd.h>

#include <oncemark/core/error.hpp>

#include "core/utf8.hpp"

namespace oncemark::faults {
namespace {

enum class Action { kill, stop, raise };

struct Fault {
  std::string name;
  Action action;
  int passage;  // the one that it strikes at, counted from 1
  int passed = 0;
};

constinit std::atomic<bool> is_armed{false};
constinit std::mutex mutex;
std::vector<Fault> faults;  // guarded by mutex

[[noreturn]] void refuse(std::string_view entry, const std::string& reason) {
  throw MisuseError("fault " + utf8::in_quotes(entry) + " cannot be armed: " + reason +
                    "; expected name:kill|stop|throw[@passage], for example dedup.after_claim:kill@2");
}

Action parse_action(std::string_view entry, std::string_view text) {
  if (text == "kill") return Action::kill;
  if (text == "stop") return Action::stop;
  if (text == "throw") return Action::raise;
  refuse(entry, "unknown action");
}

int parse_passage(std::string_view entry, std::string_view text) {
  int passage = 0;
  const char* end = text.data() + text.size();
  const auto [stopped_at, error] = std::from_chars(text.data(), end, passage);
  if (error != std::errc{} || stopped_at != end || passage < 1) {
    refuse(entry, "the passage is no number from 1");
  }
  return passage;
}

Fault parse_fault(std::string_view entry) {
  const std::size_t colon = entry.find(':');
  if (colon == std::string_view::npos) refuse(entry, "it has no action");
  const std::string name(entry.substr(0, colon));
  if (!std::binary_search(names().begin(), names().end(), name)) {
    refuse(entry, "no fail point has that name");
  }
  const std::string_view rest = entry.substr(colon + 1);
  const std::size_t at = rest.find('@');
  const Action action = parse_action(entry, rest.substr(0, at));
  return {name, action, at == std::string_view::npos ? 1 : parse_passage(entry, rest.substr(at + 1))};
}

std::vector<Fault> parse(std::string_view specification) {
  std::vector<Fault> parsed;
  for (std::size_t begin = 0; begin <= specification.size();) {
    const std::size_t end = std::min(specification.find(',', begin), specification.size());
    parsed.push_back(parse_fault(specification.substr(begin, end - begin)));
    begin = end + 1;
  }
  return parsed;
}

// A specification that cannot be read ends the process here, by std::terminate: a fault test must
// not run without its fault.
[[maybe_unused]] const bool armed_by_environment = [] {
  const char* specification = std::getenv("ONCEMARK_FAULT");
  if (specification == nullptr || *specification == '\0') return false;
  arm(specification);
  return true;
}();

std::optional<Action> strike(std::string_view name) {
  const std::lock_guard lock(mutex);
  std::optional<Action> action;
  for (Fault& fault : faults) {
    if (fault.name == name && ++fault.passed == fault.passage && !action) action = fault.action;
  }
  return action;
}

}  // namespace

void arm(std::string_view specification) {
  std::vector<Fault> parsed = parse(specification);
  const std::lock_guard lock(mutex);
  faults = std::move(parsed);
  is_armed.store(true, std::memory_order_relaxed);
}

void disarm() {
  const std::lock_guard lock(mutex);
  faults.clear();
  is_armed.store(false, std::memory_order_relaxed);
}

const std::vector<std::string>& names() {
  // clang-format off: one a line, so that additions do not meet
  static const std::vector<std::string> sorted = {
      "binlog.after_ack",
      "binlog.after_commit",
      "binlog.after_send",
      "binlog.before_commit",
      "checkback.after_append",
      "checkback.after_park",
      "checkback.after_send",
      "checkback.before_park",
      "checkback.before_rollback",
      "dedup.after_claim",
      "dedup.after_commit",
      "dedup.after_handler",
      "direct.after_ack",
      "half.after_ack",
      "half.after_commit",
      "half.after_send",
      "half.before_commit",
      "half.before_settle",
      "hint.before_write",
      "letters.before_commit",
      "parked.after_commit",
      "parked.after_handler",
      "parked.after_take",
      "parking.after_commit",
      "parking.before_commit",
      "partitions.before_drop",
      "reconcile.before_commit",
      "relay.after_ack",
      "relay.after_mark",
      "relay.after_send",
      "replay.after_commit",
      "replay.before_commit",
      "replay.before_start",
      "router.after_commit",
      "router.before_commit",
      "runner.after_offset_commit",
      "runner.before_offset_commit",
      "stuck.before_commit",
      "suspects.after_note",
      "sweeper.after_commit",
      "sweeper.after_horizon",
      "sweeper.before_commit",
      "topic_replay.after_ack",
      "topic_replay.after_advance",
      "transaction.before_hook",
      "waiting.before_commit",
      "watchdog.after_commit",
      "watchdog.before_commit",
  };
  // clang-format on
  return sorted;
}

namespace detail {

bool armed() noexcept { return is_armed.load(std::memory_order_relaxed); }

void pass(std::string_view name) {
  const std::optional<Action> action = strike(name);
  if (!action) return;
  switch (*action) {
    case Action::kill:
      ::kill(::getpid(), SIGKILL);
      break;
    case Action::stop:
      ::kill(::getpid(), SIGSTOP);
      break;
    case Action::raise:
      throw Error(ErrorKind::transient, "fail point " + std::string(name) + " was told to throw");
  }
}

}  // namespace detail
}  // namespace oncemark::faults
