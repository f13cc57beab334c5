#pragma once

#include <vector>

#include <oncemark/kafka/errors.hpp>
#include <oncemark/kafka/settings.hpp>
#include <oncemark/message/ports.hpp>

#include "kafka/admin_client.hpp"

namespace oncemark::kafka {

/// Waits for a broker, checks that the source topics exist, and creates or checks the needed ones.
///
/// Errors:  KafkaError: unavailable when no broker answers within options.start_timeout; misuse for a topic that is
///          missing and may not be created, with the command that creates it.
void prepare_topics(AdminClient& admin, const ConsumerOptions& options, const std::vector<TopicNeed>& needs);

/// The error for a source topic that does not exist.
[[nodiscard]] KafkaError missing_source(const ConsumerOptions& options, const std::string& topic);

}  // namespace oncemark::kafka
