#pragma once

#include <exception>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <oncemark/consume/sequences.hpp>
#include <oncemark/consume/stage.hpp>
#include <oncemark/core/error.hpp>
#include <oncemark/message/message.hpp>
#include <oncemark/message/ports.hpp>

namespace oncemark::consume {

/// A message that could not be handled.
struct Failure {
  const Message& message;
  std::string_view consumer;
  std::string_view group;
  Stage stage = Stage::handler;
  ErrorSummary error = {};
  int tried_here = 0;                             // how often this delivery was tried again because route() said so
  std::optional<std::string_view> sequence = {};  // it headed this parked sequence, and was run from there
};

/// What was done with it.
enum class Routed {
  retrying,   ///< it will come again by the group's retry topic
  parked,     ///< it will be tried again in its place, at the head of its key's sequence
  dead,       ///< it lies in the dead letters
  discarded,  ///< given up without a dead letter; a row keeps it for the audit
  settled,    ///< another instance had settled it; nothing was written
  again,      ///< nothing was written: the runner tries it again in place, alone and after a pause
};

/// What became of one of several failures.
struct Route {
  Routed routed = Routed::settled;
  std::exception_ptr failure = nullptr;  // not null: it is *not* recorded
};

/// Where failed messages go. dead_letter::Router is the one for production.
///
/// Threads: route() from many lanes at once.
/// Errors:  whatever route() throws means that the failure is *not* recorded: the runner tries again in place, and
///          the offset does not move.
class FailureSink {
 public:
  virtual ~FailureSink() = default;
  /// Called once before the first message; returns the topics that this sink needs, those to be consumed marked.
  [[nodiscard]] virtual std::vector<TopicNeed> prepare(const std::string& consumer, const std::string& group,
                                                       const std::vector<std::string>& topics) = 0;
  [[nodiscard]] virtual Routed route(const Failure& failure) = 0;
  /// Those of one group, in its order; what became of each. Does not throw. By default each goes by route().
  [[nodiscard]] virtual std::vector<Route> route_all(std::span<const Failure> failures) {
    std::vector<Route> routes;
    for (const Failure& failure : failures) {
      try {
        routes.push_back({.routed = route(failure)});
      } catch (...) {
        routes.push_back({.failure = std::current_exception()});
      }
    }
    return routes;
  }
  /// Whether it keeps the order of keys. Then failed messages are parked, and the handler has to know about sequences.
  [[nodiscard]] virtual KeyOrder key_order() const { return {}; }
};

}  // namespace oncemark::consume
