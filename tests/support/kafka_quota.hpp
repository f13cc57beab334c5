#pragma once

#include <cstdlib>
#include <optional>
#include <stdexcept>
#include <string>

#include "support/stack.hpp"

namespace oncemark::testing {

/// Bytes a second that clients of this name may write; nothing: as many as they like. By Kafka's own program, since
/// librdkafka asks for no quotas. ONCEMARK_SOURCE names our source.
inline void set_producer_quota(const std::string& client, std::optional<int> bytes_per_second) {
  const std::string change = bytes_per_second ? "--add-config producer_byte_rate=" + std::to_string(*bytes_per_second)
                                              : std::string("--delete-config producer_byte_rate");
  const std::string command = "bash -c '. " ONCEMARK_SOURCE
                              "/tools/dev/lib.sh; \"$(find_java)\" -XX:TieredStopAtLevel=1 -cp \"$kafka_home/libs/*\" "
                              "kafka.admin.ConfigCommand --bootstrap-server " +
                              Stack::brokers() + " --alter --entity-type clients --entity-name " + client + " " +
                              change + "' >/dev/null 2>&1";
  if (std::system(command.c_str()) != 0) throw std::runtime_error("the quota of " + client + " was not changed");
}

}  // namespace oncemark::testing
