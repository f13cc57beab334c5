#include "dead_letter/job_rows.hpp"

#include <cmath>

#include <oncemark/message/headers.hpp>
#include <oncemark/observe/log.hpp>
#include <oncemark/outbox/writer.hpp>

namespace oncemark::dead_letter {
namespace {

constexpr std::size_t kMaxOperator = 255;
constexpr std::size_t kMaxReason = 1'024;
constexpr double kMaxRate = 1'000'000;

void check_size(const char* field, const std::string& text, std::size_t limit) {
  if (text.size() <= limit) return;
  throw MisuseError(std::string(field) + " has " + std::to_string(text.size()) +
                    " bytes; allowed: " + std::to_string(limit));
}

/// The order as it lies in the table: a JSON array of names and values, in the form of headers, which keeps any bytes.
std::string encode_order(const ReplayOrder& order) {
  Headers fields;
  const auto add = [&](std::string name, const std::optional<std::string>& value) {
    if (value) fields.append(std::move(name), *value);
  };
  const Selection& selection = order.selection;
  add("topic", selection.topic);
  add("fingerprint", selection.fingerprint);
  add("error_class", selection.error_class);
  add("message_id", selection.message_id);
  if (selection.id) add("id", std::to_string(*selection.id));
  if (selection.died_since) add("died_since", format_rfc3339(*selection.died_since));
  if (selection.died_until) add("died_until", format_rfc3339(*selection.died_until));
  if (selection.after_id > 0) add("after_id", std::to_string(selection.after_id));
  add("relay", order.relay);
  add("retry_topic", order.topics.retry);
  add("dead_letter_topic", order.topics.dead_letter);
  return encode_headers(fields);
}

void decode_order(std::string_view text, ReplayOrder& order) {
  Selection& selection = order.selection;
  for (const Header& field : decode_headers(text)) {
    std::string value = field.value.str();
    if (field.name == "topic") {
      selection.topic = std::move(value);
    } else if (field.name == "fingerprint") {
      selection.fingerprint = std::move(value);
    } else if (field.name == "error_class") {
      selection.error_class = std::move(value);
    } else if (field.name == "message_id") {
      selection.message_id = std::move(value);
    } else if (field.name == "id") {
      selection.id = std::stoull(value);
    } else if (field.name == "died_since") {
      selection.died_since = parse_rfc3339(value);
    } else if (field.name == "died_until") {
      selection.died_until = parse_rfc3339(value);
    } else if (field.name == "after_id") {
      selection.after_id = std::stoull(value);
    } else if (field.name == "relay") {
      order.relay = std::move(value);
    } else if (field.name == "retry_topic") {
      order.topics.retry = std::move(value);
    } else if (field.name == "dead_letter_topic") {
      order.topics.dead_letter = std::move(value);
    } else {
      // Leaving a filter out would replay what nobody selected.
      throw MisuseError("the job was written by a newer version: it selects by \"" + printable(field.name, 40) + "\"");
    }
  }
}

}  // namespace

void check_order(const ReplayOrder& order) {
  if (!order.selection.consumer) throw MisuseError("ReplayOrder::selection names no consumer");
  outbox::check_name("consumer", *order.selection.consumer);
  if (!order.relay.empty()) outbox::check_name("ReplayOrder::relay", order.relay);
  if (!std::isfinite(order.rate) || order.rate < 0 || order.rate > kMaxRate) {
    throw MisuseError("ReplayOrder::rate is " + std::to_string(order.rate) + "; allowed: 0 to 1,000,000 a second");
  }
  check_size("ReplayOrder::operator_name", order.operator_name, kMaxOperator);
  check_size("ReplayOrder::reason", order.reason, kMaxReason);
  order.topics.validate();
}

std::uint64_t insert_job(mysql::Transaction& tx, const ReplayOrder& order, const Extent& extent) {
  tx.execute(
      "INSERT INTO replay_job (consumer, selection, last_id, selected, state, rate, operator, reason, created_at, "
      "updated_at) VALUES (?, ?, ?, ?, 'running', ?, ?, ?, UTC_TIMESTAMP(6), UTC_TIMESTAMP(6))",
      *order.selection.consumer, encode_order(order), extent.last_id, extent.letters, order.rate, order.operator_name,
      order.reason);
  return tx.query("SELECT LAST_INSERT_ID()").at(0).get<std::uint64_t>(0);
}

ReplayJob read_job(const mysql::Row& row) {
  return {.id = row.get<std::uint64_t>("id"),
          .consumer = row.get<std::string>("consumer"),
          .state = row.get<std::string>("state"),
          .selected = row.get<std::uint64_t>("selected"),
          .replayed = row.get<std::uint64_t>("replayed"),
          .skipped = row.get<std::uint64_t>("skipped"),
          .checkpoint = row.get<std::uint64_t>("checkpoint"),
          .rate = row.get<double>("rate"),
          .operator_name = row.get<std::string>("operator"),
          .reason = row.get<std::string>("reason"),
          .created_at = row.get<Time>("created_at"),
          .updated_at = row.get<Time>("updated_at")};
}

std::optional<StoredJob> lock_job(mysql::Transaction& tx, std::uint64_t id) {
  const auto row = tx.query_row(
      "SELECT " + std::string(kJobColumns) + ", selection, last_id FROM replay_job WHERE id = ? FOR UPDATE", id);
  if (!row) return std::nullopt;
  StoredJob stored{.job = read_job(*row), .order = {}};
  decode_order(row->get<std::string>("selection"), stored.order);
  stored.order.selection.consumer = stored.job.consumer;
  stored.order.selection.last_id = row->get<std::uint64_t>("last_id");
  stored.order.rate = stored.job.rate;
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

bool advance_job(mysql::Transaction& tx, const ReplayJob& job, std::uint64_t checkpoint, std::uint64_t replayed,
                 std::uint64_t skipped) {
  return tx.execute(
             "UPDATE replay_job SET checkpoint = ?, replayed = replayed + ?, skipped = skipped + ?, "
             "updated_at = UTC_TIMESTAMP(6) WHERE id = ? AND state = 'running' AND checkpoint = ?",
             checkpoint, replayed, skipped, job.id, job.checkpoint) == 1;
}

void end_job(mysql::Transaction& tx, std::uint64_t id, std::string_view state) {
  tx.execute(
      "UPDATE replay_job SET skipped = IF(? = 'done', GREATEST(skipped, CAST(selected AS SIGNED) - "
      "CAST(replayed AS SIGNED)), skipped), state = ?, updated_at = UTC_TIMESTAMP(6) WHERE id = ? AND state = "
      "'running'",
      state, state, id);
}

}  // namespace oncemark::dead_letter
