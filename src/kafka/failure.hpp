#pragma once

#include <string>

#include <oncemark/kafka/errors.hpp>

namespace oncemark::kafka {

/// "UNKNOWN_TOPIC_OR_PART (Broker: Unknown topic or partition); create the topic …": code, meaning, cure.
[[nodiscard]] std::string describe_code(int code);

/// The exception for a code: "<what>: <describe_code>", of the kind that classify() says.
[[nodiscard]] KafkaError failure(const std::string& what, int code);
/// The same with a kind and a cure of the caller's own.
[[nodiscard]] KafkaError failure(ErrorKind kind, const std::string& what, int code, const std::string& own_cure);

}  // namespace oncemark::kafka
