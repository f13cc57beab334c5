#pragma once

#include <string>
#include <string_view>

#include <oncemark/core/id.hpp>
#include <oncemark/kafka/admin.hpp>

#include "support/stack.hpp"

namespace oncemark::testing {

/// A name for a topic or a group that no other test uses: "orders-193f0a…".
[[nodiscard]] inline std::string unique_name(std::string_view what) {
  return std::string(what) + "-" + std::to_string(random_token());
}

/// Makes a topic of a name of its own on the stack's broker, and gives the name.
[[nodiscard]] inline std::string unique_topic(std::int32_t partitions = 1, kafka::Properties config = {}) {
  const std::string name = unique_name("topic");
  kafka::Admin(Stack::brokers()).create({{.name = name, .partitions = partitions, .config = std::move(config)}});
  return name;
}

}  // namespace oncemark::testing
