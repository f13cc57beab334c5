#pragma once

#include <string_view>

/// Every reserved header name. Text; numbers in decimal; times RFC 3339 UTC with six digits.
namespace oncemark::names {

inline constexpr std::string_view kPrefix = "om-";

inline constexpr std::string_view kMessageId = "om-message-id";
inline constexpr std::string_view kEventTime = "om-event-time";

// Believed only on the group's own retry topic; elsewhere they are foreign bytes.
inline constexpr std::string_view kAttempt = "om-attempt";
inline constexpr std::string_view kLife = "om-life";
inline constexpr std::string_view kDue = "om-due";
inline constexpr std::string_view kReplayId = "om-replay-id";
/// The dedup key under which the message failed, when it is not the message id.
inline constexpr std::string_view kBusinessKey = "om-business-key";

/// How often the record was replayed from a dead-letter topic; a record of the tables has its life instead.
inline constexpr std::string_view kReplays = "om-replays";

/// The message id of the dead message of which somebody has edited the record into this one.
inline constexpr std::string_view kEditedFrom = "om-edited-from";

// Where the message was first read: written once, at its first failure.
inline constexpr std::string_view kOriginTopic = "om-origin-topic";
inline constexpr std::string_view kOriginPartition = "om-origin-partition";
inline constexpr std::string_view kOriginOffset = "om-origin-offset";
inline constexpr std::string_view kOriginTimestamp = "om-origin-timestamp";
inline constexpr std::string_view kOriginGroup = "om-origin-group";

// What went wrong last: replaced at every failure.
inline constexpr std::string_view kErrorClass = "om-error-class";
inline constexpr std::string_view kErrorMessage = "om-error-message";
inline constexpr std::string_view kErrorStage = "om-error-stage";
inline constexpr std::string_view kErrorFingerprint = "om-error-fingerprint";
inline constexpr std::string_view kFirstFailedAt = "om-first-failed-at";
/// On a pointer, which has no payload and no foreign headers: how many bytes the payload had that is left out.
inline constexpr std::string_view kRecordLeftOut = "om-record-left-out";

// On half topics only: what the check-back of transactional messages needs to know.
inline constexpr std::string_view kHalfTopic = "om-half-topic";
inline constexpr std::string_view kHalfKey = "om-half-key";
inline constexpr std::string_view kHalfOutcome = "om-half-outcome";
inline constexpr std::string_view kHalfSince = "om-half-since";
inline constexpr std::string_view kHalfDue = "om-half-due";
inline constexpr std::string_view kHalfChecks = "om-half-checks";
inline constexpr std::string_view kHalfReason = "om-half-reason";

// Kafka's own names for dead letters (KIP-1191), written beside ours.
inline constexpr std::string_view kKafkaDlqPrefix = "__dlq.errors.";
inline constexpr std::string_view kKafkaDlqTopic = "__dlq.errors.topic";
inline constexpr std::string_view kKafkaDlqPartition = "__dlq.errors.partition";
inline constexpr std::string_view kKafkaDlqOffset = "__dlq.errors.offset";
inline constexpr std::string_view kKafkaDlqGroup = "__dlq.errors.group";
inline constexpr std::string_view kKafkaDlqDeliveryCount = "__dlq.errors.delivery.count";
inline constexpr std::string_view kKafkaDlqMessage = "__dlq.errors.message";

// Spring's names for dead letters, written by option: text, but numbers are big-endian (partition four bytes, offset and
// timestamp eight).
inline constexpr std::string_view kSpringDltPrefix = "kafka_dlt-";
inline constexpr std::string_view kSpringTopic = "kafka_dlt-original-topic";
inline constexpr std::string_view kSpringPartition = "kafka_dlt-original-partition";
inline constexpr std::string_view kSpringOffset = "kafka_dlt-original-offset";
inline constexpr std::string_view kSpringTimestamp = "kafka_dlt-original-timestamp";
inline constexpr std::string_view kSpringTimestampType = "kafka_dlt-original-timestamp-type";
inline constexpr std::string_view kSpringGroup = "kafka_dlt-original-consumer-group";
inline constexpr std::string_view kSpringExceptionFqcn = "kafka_dlt-exception-fqcn";
inline constexpr std::string_view kSpringExceptionMessage = "kafka_dlt-exception-message";

// Passed on everywhere, also by a pointer.
inline constexpr std::string_view kTraceparent = "traceparent";
inline constexpr std::string_view kTracestate = "tracestate";

}  // namespace oncemark::names
