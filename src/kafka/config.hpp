#pragma once

#include <string>
#include <string_view>

#include <oncemark/kafka/settings.hpp>

#include "kafka/client_log.hpp"
#include "kafka/handles.hpp"

namespace oncemark::kafka {

/// librdkafka configurations from our options. Order: our defaults, the user's properties, what our promises rest on.
///
/// Errors:  ConfigError with the key as the user wrote it ("kafka.properties.acks", "kafka.group").
[[nodiscard]] ConfHandle producer_conf(const ProducerOptions& options);
[[nodiscard]] ConfHandle consumer_conf(const ConsumerOptions& options);
/// A consumer that joins no group, sees uncommitted records and creates nothing: for looking and for admin requests.
/// `group` is needed to read its committed positions only.
[[nodiscard]] ConfHandle observer_conf(const std::string& brokers, const Properties& properties,
                                       const std::string& password_file, const std::string& group = {});

/// Makes the client; `log` becomes its opaque and must outlive it.
///
/// Errors:  ConfigError("kafka.properties") for properties that do not fit each other; KafkaError{unavailable} when
///          the system refuses threads.
[[nodiscard]] ClientHandle make_client(rd_kafka_type_t type, ConfHandle conf, ClientLog& log);

/// Sets one property; ConfigError with librdkafka's text when the name is unknown or the value is bad.
void set_property(rd_kafka_conf_t* conf, const std::string& name, const std::string& value);

/// Whether a topic may have that name.
[[nodiscard]] bool is_topic_name(std::string_view name) noexcept;

}  // namespace oncemark::kafka
