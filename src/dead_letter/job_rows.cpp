#include "dead_letter/job_rows.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include <oncemark/message/codec.hpp>
#include <oncemark/message/headers.hpp>
#include <oncemark/observe/log.hpp>
#include <oncemark/outbox/writer.hpp>

#include "dead_letter/frozen.hpp"

namespace oncemark::dead_letter {
namespace {

constexpr std::size_t kMaxOperator = 255;
constexpr std::size_t kMaxReason = 1'024;
constexpr double kMaxRate = 1'000'000;
constexpr std::uint64_t kMaxInFlight = 10'000;
constexpr const char* kFilterPrefix = "filter:";

void check_size(const char* field, const std::string& text, std::size_t limit) {
  if (text.size() <= limit) return;
  throw MisuseError(std::string(field) + " has " + std::to_string(text.size()) +
                    " bytes; allowed: " + std::to_string(limit));
}

std::string text_of(double number) {
  std::array<char, 32> text{};
  const auto end = std::to_chars(text.data(), text.data() + text.size(), number).ptr;
  return {text.data(), end};
}

double number_of(const std::string& text) {
  double number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{} || end != text.data() + text.size()) {
    throw MisuseError("the job's number \"" + printable(text, 60) + "\" cannot be read");
  }
  return number;
}

/// The filters, for whoever looks at the row: what they select is frozen.
void add_selection(Headers& fields, const ReplayOrder& order) {
  const Selection& selection = order.selection;
  const auto add = [&](std::string name, const std::optional<std::string>& value) {
    if (value) fields.append(kFilterPrefix + std::move(name), *value);
  };
  const auto add_number = [&](std::string name, bool is_set, auto value) {
    if (is_set) add(std::move(name), std::to_string(value));
  };
  add("topic", selection.topic);
  add("group", selection.group);
  add("fingerprint", selection.fingerprint);
  add("error_class", selection.error_class);
  add("error_text", selection.error_text);
  add("message_id", selection.message_id);
  add("key", selection.key_glob);
  add_number("id", selection.id.has_value(), selection.id.value_or(0));
  add_number("partition", selection.partition.has_value(), selection.partition.value_or(0));
  add_number("first_offset", selection.first_offset > 0, selection.first_offset);
  add_number("last_offset", selection.last_offset < INT64_MAX, selection.last_offset);
  add_number("min_attempts", selection.min_attempts > 0, selection.min_attempts);
  add_number("max_attempts", selection.max_attempts < UINT32_MAX, selection.max_attempts);
  add_number("min_replays", selection.min_replays > 0, selection.min_replays);
  add_number("max_replays", selection.max_replays < UINT32_MAX, selection.max_replays);
  add_number("limit", order.limit < UINT64_MAX, order.limit);
  if (selection.died_since) add("died_since", format_rfc3339(*selection.died_since));
  if (selection.died_until) add("died_until", format_rfc3339(*selection.died_until));
  if (!order.described.empty()) add("filter", order.described);
}

/// The order as it lies in the table: a JSON array of names and values, in the form of headers, which keeps any bytes.
std::string encode_order(const ReplayOrder& order) {
  Headers fields;
  add_selection(fields, order);
  const Pace& pace = order.pace;
  if (!order.relay.empty()) fields.append("relay", order.relay);
  fields.append("retry_topic", order.topics.retry);
  fields.append("dead_letter_topic", order.topics.dead_letter);
  fields.append("max_replays", std::to_string(order.max_replays));
  if (pace.burst > 0) fields.append("burst", std::to_string(pace.burst));
  for (const double rate : pace.ramp) fields.append("ramp", text_of(rate));
  fields.append("ramp_every", std::to_string(pace.ramp_every.count()));
  if (pace.canary > 0) fields.append("canary", std::to_string(pace.canary));
  fields.append("canary_wait", std::to_string(pace.canary_wait.count()));
  if (pace.stop_if_failed_over) fields.append("stop_if_failed_over", text_of(*pace.stop_if_failed_over));
  if (pace.in_flight > 0) fields.append("in_flight", std::to_string(pace.in_flight));
  return encode_headers(fields);
}

void decode_order(std::string_view text, ReplayOrder& order) {
  Pace& pace = order.pace;
  for (const Header& field : decode_headers(text)) {
    std::string value = field.value.str();
    if (field.name.starts_with(kFilterPrefix)) {
      continue;  // it is frozen
    } else if (field.name == "relay") {
      order.relay = std::move(value);
    } else if (field.name == "retry_topic") {
      order.topics.retry = std::move(value);
    } else if (field.name == "dead_letter_topic") {
      order.topics.dead_letter = std::move(value);
    } else if (field.name == "max_replays") {
      order.max_replays = static_cast<std::uint32_t>(parse_number(value, "the job's max_replays"));
    } else if (field.name == "burst") {
      pace.burst = static_cast<std::uint64_t>(parse_number(value, "the job's burst"));
    } else if (field.name == "ramp") {
      pace.ramp.push_back(number_of(value));
    } else if (field.name == "ramp_every") {
      pace.ramp_every = std::chrono::seconds(parse_number(value, "the job's ramp_every"));
    } else if (field.name == "canary") {
      pace.canary = static_cast<std::uint64_t>(parse_number(value, "the job's canary"));
    } else if (field.name == "canary_wait") {
      pace.canary_wait = std::chrono::seconds(parse_number(value, "the job's canary_wait"));
    } else if (field.name == "stop_if_failed_over") {
      pace.stop_if_failed_over = number_of(value);
    } else if (field.name == "in_flight") {
      pace.in_flight = static_cast<std::uint64_t>(parse_number(value, "the job's in_flight"));
    } else {
      // Leaving it out would replay faster than somebody asked for, or further.
      throw MisuseError("the job was written by another version: it has \"" + printable(field.name, 40) +
                        "\"; start a new one");
    }
  }
}

void check_rate(const char* field, double rate) {
  if (std::isfinite(rate) && rate >= 0 && rate <= kMaxRate) return;
  throw MisuseError(std::string(field) + " is " + std::to_string(rate) + "; allowed: 0 to 1,000,000 a second");
}

void check_pace(const Pace& pace) {
  check_rate("Pace::rate", pace.rate);
  for (const double rate : pace.ramp) {
    check_rate("Pace::ramp", rate);
    if (rate == 0) throw MisuseError("Pace::ramp has a rate of 0; allowed: above 0");
  }
  if (!pace.ramp.empty() && pace.rate > 0) throw MisuseError("Pace has both a rate and a ramp; allowed: one of them");
  if (pace.ramp_every.count() < 1) throw MisuseError("Pace::ramp_every is below a second");
  if (pace.canary_wait.count() < 0) throw MisuseError("Pace::canary_wait is below 0");
  if (pace.in_flight > kMaxInFlight) {
    throw MisuseError("Pace::in_flight is " + std::to_string(pace.in_flight) + "; allowed: 0 to 10,000");
  }
  const double share = pace.stop_if_failed_over.value_or(0);
  if (!(share >= 0 && share <= 1)) {
    throw MisuseError("Pace::stop_if_failed_over is " + std::to_string(share) + "; allowed: 0 to 1");
  }
}

}  // namespace

void check_order(const ReplayOrder& order) {
  if (!order.selection.consumer) throw MisuseError("ReplayOrder::selection names no consumer");
  outbox::check_name("consumer", *order.selection.consumer);
  if (!order.relay.empty()) outbox::check_name("ReplayOrder::relay", order.relay);
  check_pace(order.pace);
  if (order.max_replays == 0) throw MisuseError("ReplayOrder::max_replays is 0; allowed: 1 and more");
  check_size("ReplayOrder::operator_name", order.operator_name, kMaxOperator);
  check_size("ReplayOrder::reason", order.reason, kMaxReason);
  order.topics.validate();
}

std::uint64_t insert_job(mysql::Transaction& tx, const ReplayOrder& order, const ReplayPlan& plan,
                         std::string_view state) {
  const double rate = order.pace.ramp.empty() ? order.pace.rate : order.pace.ramp.back();
  const std::uint64_t last = plan.letters.empty() ? 0 : std::ranges::max(plan.letters);
  tx.execute(
      "INSERT INTO replay_job (consumer, selection, last_id, selected, state, rate, operator, reason, created_at, "
      "updated_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, UTC_TIMESTAMP(6), UTC_TIMESTAMP(6))",
      *order.selection.consumer, encode_order(order), last, plan.letters.size(), state, rate, order.operator_name,
      order.reason);
  const auto id = tx.query("SELECT LAST_INSERT_ID()").at(0).get<std::uint64_t>(0);
  write_frozen(tx, id, plan.letters);
  return id;
}

ReplayJob read_job(const mysql::Row& row) {
  return {.id = row.get<std::uint64_t>("id"),
          .consumer = row.get<std::string>("consumer"),
          .state = row.get<std::string>("state"),
          .note = row.get<std::string>("note"),
          .selected = row.get<std::uint64_t>("selected"),
          .replayed = row.get<std::uint64_t>("replayed"),
          .skipped = row.get<std::uint64_t>("skipped"),
          .guarded = row.get<std::uint64_t>("guarded"),
          .refused = row.get<std::uint64_t>("refused"),
          .checkpoint = row.get<std::uint64_t>("checkpoint"),
          .rate = row.get<double>("rate"),
          .operator_name = row.get<std::string>("operator"),
          .reason = row.get<std::string>("reason"),
          .created_at = row.get<Time>("created_at"),
          .updated_at = row.get<Time>("updated_at")};
}

std::optional<StoredJob> lock_job(mysql::Transaction& tx, std::uint64_t id) {
  const auto row =
      tx.query_row("SELECT " + std::string(kJobColumns) + ", selection FROM replay_job WHERE id = ? FOR UPDATE", id);
  if (!row) return std::nullopt;
  StoredJob stored{.job = read_job(*row), .order = {}};
  decode_order(row->get<std::string>("selection"), stored.order);
  stored.order.selection.consumer = stored.job.consumer;
  if (stored.order.pace.ramp.empty()) stored.order.pace.rate = stored.job.rate;
  stored.order.operator_name = stored.job.operator_name;
  stored.order.reason = stored.job.reason;
  return stored;
}

std::optional<ReplayJob> running_job(mysql::Transaction& tx, const std::string& consumer) {
  const auto row =
      tx.query_row("SELECT " + std::string(kJobColumns) +
                       " FROM replay_job WHERE consumer = ? AND state = 'running' ORDER BY id DESC LIMIT 1",
                   consumer);
  if (!row) return std::nullopt;
  return read_job(*row);
}

bool advance_job(mysql::Transaction& tx, const ReplayJob& job, const Advance& done) {
  return tx.execute(
             "UPDATE replay_job SET checkpoint = checkpoint + ?, replayed = replayed + ?, skipped = skipped + ?, "
             "guarded = guarded + ?, refused = refused + ?, updated_at = UTC_TIMESTAMP(6) "
             "WHERE id = ? AND state = 'running' AND checkpoint = ?",
             done.letters, done.replayed, done.skipped, done.guarded, done.refused, job.id, job.checkpoint) == 1;
}

void end_job(mysql::Transaction& tx, std::uint64_t id, std::string_view state, const std::string& note) {
  const auto job = lock_job(tx, id);
  if (job && job->job.state == "running") end_locked_job(tx, id, state, note);
}

void end_locked_job(mysql::Transaction& tx, std::uint64_t id, std::string_view state, const std::string& note) {
  tx.execute("UPDATE replay_job SET state = ?, note = NULLIF(?, ''), updated_at = UTC_TIMESTAMP(6) WHERE id = ?", state,
             note, id);
  if (state == "done" || state == "cancelled") remove_frozen(tx, id);
}

void audit_job(mysql::Transaction& tx, const ReplayJob& job, std::string_view action, const std::string& outcome,
               const std::string& operator_name, const std::string& reason) {
  tx.execute(
      "INSERT INTO replay_audit (job_id, letter_id, consumer, identity, life, action, outcome, operator, reason, at) "
      "VALUES (?, 0, ?, '', 0, ?, ?, ?, ?, UTC_TIMESTAMP(6))",
      job.id, job.consumer, action, outcome, operator_name, reason);
}

}  // namespace oncemark::dead_letter
