#pragma once

#include <string_view>

/// Every metric name. `_total` are counters, `_seconds` histograms; labels in parentheses.
namespace oncemark::metric {

inline constexpr std::string_view kConsumed = "oncemark_consume_messages_total";                // (consumer, outcome)
inline constexpr std::string_view kInPlaceRetries = "oncemark_consume_in_place_retries_total";  // (consumer, error)
inline constexpr std::string_view kInFlight = "oncemark_consume_in_flight_messages";            // (consumer) gauge
inline constexpr std::string_view kParkedMessages = "oncemark_consume_parked_messages";         // (consumer) gauge
inline constexpr std::string_view kParkedKeys = "oncemark_consume_parked_keys";                 // (consumer) gauge
inline constexpr std::string_view kStoppedKeys = "oncemark_consume_stopped_keys";               // (consumer) gauge
inline constexpr std::string_view kUnparked = "oncemark_consume_unparked_messages_total";       // (consumer)
inline constexpr std::string_view kHeld = "oncemark_consume_held_messages_total";               // (consumer)
inline constexpr std::string_view kBreakerOpen = "oncemark_consume_breaker_open";               // (consumer) gauge
inline constexpr std::string_view kProbes = "oncemark_consume_probes_total";                    // (consumer, outcome)
inline constexpr std::string_view kRouted = "oncemark_dead_letter_routed_total";                // (consumer, to)
inline constexpr std::string_view kGroupsRunAgain = "oncemark_inbox_groups_run_again_total";    // (consumer, error)
inline constexpr std::string_view kKeyConflicts = "oncemark_inbox_key_conflicts_total";         // (consumer)
inline constexpr std::string_view kHintAsked = "oncemark_inbox_hint_asked_total";               // (consumer) messages
inline constexpr std::string_view kHintHits = "oncemark_inbox_hint_hits_total";                 // (consumer)
inline constexpr std::string_view kHintWrong = "oncemark_inbox_hint_wrong_total";       // (consumer) verify only
inline constexpr std::string_view kHintWritten = "oncemark_inbox_hint_written_total";   // ()
inline constexpr std::string_view kHintDropped = "oncemark_inbox_hint_dropped_total";   // ()
inline constexpr std::string_view kHintErrors = "oncemark_inbox_hint_errors_total";     // (operation)
inline constexpr std::string_view kHintAway = "oncemark_inbox_hint_away";               // () gauge, 0 or 1
inline constexpr std::string_view kRelaySent = "oncemark_outbox_sent_total";            // (relay)
inline constexpr std::string_view kRelayRefused = "oncemark_outbox_refused_total";      // (relay)
inline constexpr std::string_view kRelayDead = "oncemark_outbox_dead_total";            // (relay)
inline constexpr std::string_view kHalves = "oncemark_transactional_halves_total";      // (sender) acked half messages
inline constexpr std::string_view kHalfChecks = "oncemark_transactional_checks_total";  // (sender, finding)
inline constexpr std::string_view kHalfParked = "oncemark_transactional_parked_total";  // (sender) left to a person
inline constexpr std::string_view kDirectSent = "oncemark_outbox_direct_sent_total";    // (relay)
inline constexpr std::string_view kLateCallFailures = "oncemark_mysql_late_call_failures_total";  // () tries that threw
inline constexpr std::string_view kLateCallsGivenUp = "oncemark_mysql_late_calls_given_up_total";       // ()
inline constexpr std::string_view kSwept = "oncemark_housekeeping_swept_rows_total";                    // (table)
inline constexpr std::string_view kResent = "oncemark_housekeeping_resent_messages_total";              // (consumer)
inline constexpr std::string_view kDifferences = "oncemark_reconcile_differences";                      // (kind) gauge
inline constexpr std::string_view kReconciledAt = "oncemark_reconcile_last_success_timestamp_seconds";  // () gauge

}  // namespace oncemark::metric
