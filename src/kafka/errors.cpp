#include <oncemark/kafka/errors.hpp>

#include <algorithm>
#include <iterator>

#include <librdkafka/rdkafka.h>

#include "kafka/failure.hpp"

namespace oncemark::kafka {
namespace {

struct Entry {
  int code;
  ErrorKind kind;
  bool about_the_record = false;
  const char* cure = "";
};

constexpr ErrorKind kUnavailable = ErrorKind::unavailable;
constexpr ErrorKind kPermanent = ErrorKind::permanent;
constexpr ErrorKind kMisuse = ErrorKind::misuse;

constexpr const char* kCheckBrokers =
    "check that the brokers run and are reachable, and security.protocol and sasl.* if they ask for it";
constexpr const char* kGrantTopic = "grant the client's principal its right on the topic";
constexpr const char* kGrantGroup = "grant the client's principal READ on the consumer group";
constexpr const char* kCredentials =
    "check sasl.mechanism, sasl.username and the password file; with brokers from Kafka 4.0 on, SCRAM needs librdkafka "
    "2.6.1 (older ones: PLAIN over TLS, or certificates)";
constexpr const char* kTopicName =
    "topic names have 1 to 249 of the characters a-z, A-Z, 0-9, '.', '_' and '-', and are not '.' or '..'";
constexpr const char* kTooLarge =
    "raise max.message.bytes of the topic (or message.max.bytes of the broker), or send less";
constexpr const char* kOutOfRange = "set when_out_of_range, or commit a position that is in the log";
constexpr const char* kCorrupt = "the data are damaged: repair the replica, or commit a position behind them";

// Codes that are in no row are transient and not about the record.
constexpr Entry kEntries[] = {
    // Brokers or network: wait.
    {RD_KAFKA_RESP_ERR__TRANSPORT, kUnavailable, false, kCheckBrokers},
    {RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN, kUnavailable, false, kCheckBrokers},
    {RD_KAFKA_RESP_ERR__RESOLVE, kUnavailable, false, "check the host names of the brokers"},
    {RD_KAFKA_RESP_ERR__SSL, kUnavailable, false, "check ssl.ca.location and the brokers' certificates"},
    {RD_KAFKA_RESP_ERR__TIMED_OUT, kUnavailable, false, kCheckBrokers},
    {RD_KAFKA_RESP_ERR__TIMED_OUT_QUEUE, kUnavailable, false, kCheckBrokers},
    {RD_KAFKA_RESP_ERR__MSG_TIMED_OUT, kUnavailable, false, kCheckBrokers},
    {RD_KAFKA_RESP_ERR__WAIT_COORD, kUnavailable, false, kCheckBrokers},
    {RD_KAFKA_RESP_ERR__NODE_UPDATE, kUnavailable},
    {RD_KAFKA_RESP_ERR__WAIT_CACHE, kUnavailable},
    {RD_KAFKA_RESP_ERR__CRIT_SYS_RESOURCE, kUnavailable, false, "check the limits on threads and open files"},
    {RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE, kUnavailable},
    {RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION, kUnavailable},
    {RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT, kUnavailable},
    {RD_KAFKA_RESP_ERR_BROKER_NOT_AVAILABLE, kUnavailable},
    {RD_KAFKA_RESP_ERR_REPLICA_NOT_AVAILABLE, kUnavailable},
    {RD_KAFKA_RESP_ERR_STALE_CTRL_EPOCH, kUnavailable},
    {RD_KAFKA_RESP_ERR_NETWORK_EXCEPTION, kUnavailable},
    {RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS, kUnavailable},
    {RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE, kUnavailable},
    {RD_KAFKA_RESP_ERR_NOT_COORDINATOR, kUnavailable},
    {RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS, kUnavailable, false, "bring replicas back (min.insync.replicas)"},
    {RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND, kUnavailable, false,
     "bring replicas back (min.insync.replicas)"},
    {RD_KAFKA_RESP_ERR_NOT_CONTROLLER, kUnavailable},
    {RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR, kUnavailable, false, "check the brokers' disks"},
    {RD_KAFKA_RESP_ERR_LISTENER_NOT_FOUND, kUnavailable, false, "check the brokers' advertised.listeners"},
    {RD_KAFKA_RESP_ERR_FENCED_LEADER_EPOCH, kUnavailable},
    {RD_KAFKA_RESP_ERR_UNKNOWN_LEADER_EPOCH, kUnavailable},
    {RD_KAFKA_RESP_ERR_OFFSET_NOT_AVAILABLE, kUnavailable},
    {RD_KAFKA_RESP_ERR_PREFERRED_LEADER_NOT_AVAILABLE, kUnavailable},
    {RD_KAFKA_RESP_ERR_ELIGIBLE_LEADERS_NOT_AVAILABLE, kUnavailable},
    {RD_KAFKA_RESP_ERR_UNSTABLE_OFFSET_COMMIT, kUnavailable},
    {RD_KAFKA_RESP_ERR_THROTTLING_QUOTA_EXCEEDED, kUnavailable, false, "raise the client's quota"},
    {RD_KAFKA_RESP_ERR_GROUP_MAX_SIZE_REACHED, kUnavailable, false, "raise group.max.size of the broker"},

    // What was sent or is in the log will never do.
    {RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE, kPermanent, true, kTooLarge},
    {RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE, kPermanent, true, "raise segment.bytes of the topic, or send less"},
    // "Corrupt": a flipped bit on the way heals with the next attempt; a null key on a compacted topic, which brokers
    // before 2.4 call by the same name, does not. A lone record is tried again a few times either way.
    {RD_KAFKA_RESP_ERR_INVALID_MSG, kPermanent, true,
     "if it happens again, check that records on a compacted topic have keys"},
    {RD_KAFKA_RESP_ERR_INVALID_MSG_SIZE, kPermanent, true},
    {RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP, kPermanent, true,
     "compare the clocks of client and broker (message.timestamp.before.max.ms, message.timestamp.after.max.ms)"},
    {RD_KAFKA_RESP_ERR_INVALID_RECORD, kPermanent, true, "records on a compacted topic need a key"},
    {RD_KAFKA_RESP_ERR_UNSUPPORTED_FOR_MESSAGE_FORMAT, kPermanent, true,
     "the topic's message.format.version is too old for headers"},
    {RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE, kPermanent, false, kOutOfRange},
    {RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET, kPermanent, false, kOutOfRange},
    {RD_KAFKA_RESP_ERR__BAD_MSG, kPermanent, false, kCorrupt},
    {RD_KAFKA_RESP_ERR__BAD_COMPRESSION, kPermanent, false, kCorrupt},
    {RD_KAFKA_RESP_ERR_OFFSET_METADATA_TOO_LARGE, kPermanent},

    // Names, rights and settings: a person has to act. Those that concern one topic only are about the record; those
    // that concern the client (cluster rights, credentials, compression, acks) would refuse every record alike.
    {RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART, kMisuse, true, "create the topic, or correct its name"},
    {RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC, kMisuse, true, "create the topic, or correct its name"},
    {RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION, kMisuse, true, "compare the partition count of the topic"},
    {RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION, kMisuse, true, kTopicName},
    {RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, kMisuse, true, kGrantTopic},
    {RD_KAFKA_RESP_ERR_POLICY_VIOLATION, kMisuse, true, "ask the cluster's owner about its policies"},
    {RD_KAFKA_RESP_ERR__INVALID_ARG, kMisuse, true},
    {RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED, kMisuse, false, kGrantGroup},
    {RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED, kMisuse, false,
     "grant the client's principal IDEMPOTENT_WRITE (to send) or CREATE (to make topics) on the cluster"},
    {RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED, kMisuse},
    {RD_KAFKA_RESP_ERR__AUTHENTICATION, kMisuse, false, kCredentials},
    {RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED, kMisuse, false, kCredentials},
    {RD_KAFKA_RESP_ERR_UNSUPPORTED_SASL_MECHANISM, kMisuse, false, kCredentials},
    {RD_KAFKA_RESP_ERR_ILLEGAL_SASL_STATE, kMisuse, false, "check security.protocol"},
    {RD_KAFKA_RESP_ERR_SECURITY_DISABLED, kMisuse},
    {RD_KAFKA_RESP_ERR_INVALID_REQUIRED_ACKS, kMisuse},
    {RD_KAFKA_RESP_ERR_UNSUPPORTED_COMPRESSION_TYPE, kMisuse, false, "choose another compression.type"},
    {RD_KAFKA_RESP_ERR_UNSUPPORTED_VERSION, kMisuse, false, "the broker is too old for this request"},
    {RD_KAFKA_RESP_ERR_INVALID_REQUEST, kMisuse},
    {RD_KAFKA_RESP_ERR_INVALID_CONFIG, kMisuse},
    {RD_KAFKA_RESP_ERR_INVALID_PARTITIONS, kMisuse, false, "a topic needs at least one partition"},
    {RD_KAFKA_RESP_ERR_INVALID_REPLICATION_FACTOR, kMisuse, false, "there are fewer brokers than replicas asked for"},
    {RD_KAFKA_RESP_ERR_INVALID_REPLICA_ASSIGNMENT, kMisuse},
    {RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS, kMisuse},
    {RD_KAFKA_RESP_ERR_INVALID_GROUP_ID, kMisuse},
    {RD_KAFKA_RESP_ERR_INCONSISTENT_GROUP_PROTOCOL, kMisuse, false,
     "other members of the group use another partition.assignment.strategy or the new consumer protocol: stop them, or "
     "choose another group"},
    {RD_KAFKA_RESP_ERR_INVALID_SESSION_TIMEOUT, kMisuse, false,
     "choose session_timeout between group.min.session.timeout.ms and group.max.session.timeout.ms of the broker"},

    {RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID, kMisuse, false,
     "another consumer of the group has the same instance_id: give each its own. If there is none, the broker went "
     "away "
     "while this one joined again, and takes it for two: start it again"},
    {RD_KAFKA_RESP_ERR__INVALID_TYPE, kMisuse},
    {RD_KAFKA_RESP_ERR__CONFLICT, kMisuse},
    {RD_KAFKA_RESP_ERR__UNKNOWN_GROUP, kMisuse},
    {RD_KAFKA_RESP_ERR__UNSUPPORTED_FEATURE, kMisuse},
    {RD_KAFKA_RESP_ERR__NOT_IMPLEMENTED, kMisuse},
    {RD_KAFKA_RESP_ERR__NOT_CONFIGURED, kMisuse},
    {RD_KAFKA_RESP_ERR__READ_ONLY, kMisuse},
};

const Entry* find(int code) noexcept {
  const auto* entry =
      std::find_if(std::begin(kEntries), std::end(kEntries), [code](const Entry& e) { return e.code == code; });
  return entry == std::end(kEntries) ? nullptr : entry;
}

rd_kafka_resp_err_t native(int code) noexcept { return static_cast<rd_kafka_resp_err_t>(code); }

std::string with_cure(std::string text, const std::string& cure_text) {
  if (!cure_text.empty()) text += "; " + cure_text;
  return text;
}

std::string name_and_meaning(int code) {
  return std::string(rd_kafka_err2name(native(code))) + " (" + rd_kafka_err2str(native(code)) + ")";
}

}  // namespace

ErrorKind classify(int code) noexcept {
  const Entry* entry = find(code);
  return entry ? entry->kind : ErrorKind::transient;
}

bool is_about_the_record(int code) noexcept {
  const Entry* entry = find(code);
  return entry && entry->about_the_record;
}

Refusal refusal_of(int code) noexcept {
  switch (code) {
    case RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE:
    case RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE:
    case RD_KAFKA_RESP_ERR_INVALID_MSG_SIZE:
      return Refusal::too_large;
    case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
    case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
    case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION:
    case RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION:
    case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_POLICY_VIOLATION:
      return Refusal::topic;
    default:
      return Refusal::record;
  }
}

std::string cure(int code) {
  const Entry* entry = find(code);
  return entry ? entry->cure : "";
}

std::string describe_code(int code) { return with_cure(name_and_meaning(code), cure(code)); }

KafkaError failure(const std::string& what, int code) { return failure(classify(code), what, code, cure(code)); }

KafkaError failure(ErrorKind kind, const std::string& what, int code, const std::string& own_cure) {
  return KafkaError(kind, code, rd_kafka_err2name(native(code)), false,
                    with_cure(what + ": " + name_and_meaning(code), own_cure));
}

}  // namespace oncemark::kafka
