#include <oncemark/dead_letter/topic_replay.hpp>

#include <algorithm>
#include <cmath>
#include <numeric>

#include <oncemark/core/faults.hpp>
#include <oncemark/message/codec.hpp>
#include <oncemark/message/names.hpp>
#include <oncemark/observe/log.hpp>
#include <oncemark/outbox/writer.hpp>

#include "dead_letter/job_lock.hpp"
#include "dead_letter/job_rows.hpp"
#include "dead_letter/topic_order.hpp"

namespace oncemark::dead_letter {
namespace {

constexpr std::chrono::seconds kLockWait{1};
constexpr std::string_view kTopicField = "dlq_topic";

void check_topic(const char* field, const std::string& topic) {
  try {
    outbox::check_topic(topic);
  } catch (const PermanentError& error) {
    throw MisuseError(std::string("TopicOrder::") + field + ": " + error.what());
  }
}

std::uint64_t records_in(const std::vector<TopicProgress>& extent) {
  return std::accumulate(extent.begin(), extent.end(), std::uint64_t{0}, [](std::uint64_t sum, const TopicProgress& p) {
    return sum + static_cast<std::uint64_t>(std::max<std::int64_t>(p.end - p.next, 0));
  });
}

TopicProgress parse_progress(const std::string& text) {
  const std::size_t first = text.find(':');
  const std::size_t second = text.find(':', first + 1);
  if (first == std::string::npos || second == std::string::npos) {
    throw MisuseError("the job's progress \"" + printable(text, 60) + "\" cannot be read");
  }
  return {.partition = static_cast<std::int32_t>(parse_number(text.substr(0, first), "the job's partition")),
          .next = parse_number(text.substr(first + 1, second - first - 1), "the job's position"),
          .end = parse_number(text.substr(second + 1), "the job's end")};
}

}  // namespace

void TopicOrder::validate() const {
  check_topic("topic", topic);
  if (!to.empty()) check_topic("to", to);
  for (const std::string& origin : allowed) check_topic("allowed", origin);
  if (to == topic) throw MisuseError("TopicOrder::to is the dead-letter topic itself");
  if (max_replays == 0) throw MisuseError("TopicOrder::max_replays is 0; allowed: 1 and more");
  if (!std::isfinite(rate) || rate < 0) throw MisuseError("TopicOrder::rate is below 0");
  if (operator_name.size() > 255) throw MisuseError("TopicOrder::operator_name has more than 255 bytes");
  if (reason.size() > 1'024) throw MisuseError("TopicOrder::reason has more than 1,024 bytes");
}

TopicRoute route_of(const TopicOrder& order, const Provenance& provenance) {
  if (provenance.replays.value_or(0) >= order.max_replays) return {.stays_because = "replayed too often"};
  if (!order.to.empty()) return {.topic = order.to};
  if (provenance.family == Family::oncemark) return {.stays_because = "a letter of oncemark"};
  if (!provenance.topic) return {.stays_because = "origin unknown"};
  if (std::ranges::find(order.allowed, *provenance.topic) == order.allowed.end()) {
    return {.stays_because = "origin not allowed"};
  }
  return {.topic = *provenance.topic};
}

OutgoingRecord replayed_record(const Record& record, const Provenance& provenance, std::string topic,
                               std::uint64_t job) {
  Headers headers = headers_before(record.headers, provenance.family);
  headers.set(names::kReplayId, std::to_string(job));
  headers.set(names::kReplays, std::to_string(provenance.replays.value_or(0) + 1));
  return {.topic = std::move(topic), .key = record.key, .payload = record.payload, .headers = std::move(headers)};
}

std::string encode_topic_order(const TopicOrder& order, const std::vector<TopicProgress>& progress) {
  Headers fields{{std::string(kTopicField), order.topic}};
  if (!order.to.empty()) fields.append("to", order.to);
  for (const std::string& origin : order.allowed) fields.append("allowed", origin);
  fields.append("max_replays", std::to_string(order.max_replays));
  for (const TopicProgress& p : progress) {
    fields.append("progress", std::to_string(p.partition) + ":" + std::to_string(p.next) + ":" + std::to_string(p.end));
  }
  return encode_headers(fields);
}

std::pair<TopicOrder, std::vector<TopicProgress>> decode_topic_order(std::string_view text) {
  TopicOrder order;
  std::vector<TopicProgress> progress;
  for (const Header& field : decode_headers(text)) {
    std::string value = field.value.str();
    if (field.name == kTopicField) {
      order.topic = std::move(value);
    } else if (field.name == "to") {
      order.to = std::move(value);
    } else if (field.name == "allowed") {
      order.allowed.push_back(std::move(value));
    } else if (field.name == "max_replays") {
      order.max_replays = static_cast<std::uint64_t>(parse_number(value, "the job's max_replays"));
    } else if (field.name == "progress") {
      progress.push_back(parse_progress(value));
    } else {
      throw MisuseError("the job was written by a newer version: it selects by \"" + printable(field.name, 40) + "\"");
    }
  }
  return {std::move(order), std::move(progress)};
}

std::string job_scope(const std::string& topic) { return "topic:" + topic; }

struct TopicReplay::State {
  explicit State(mysql::Pool& pool_to_use) : pool(pool_to_use) {}

  void take_lock() {
    lock.emplace(pool, job_scope(order.topic));
    if (!lock->take(kLockWait)) refuse_second_run();
  }

  [[noreturn]] void refuse_second_run() const {
    throw JobRunningError({.topic = order.topic}, "another process replays from topic " + order.topic +
                                                      "; see `dlq-replay jobs`, wait for it, or stop it where it runs");
  }

  /// The row of a topic job, locked; nothing when there is none of that id.
  bool load(mysql::Transaction& tx, std::uint64_t id) {
    const auto row = tx.query_row(
        "SELECT " + std::string(kJobColumns) + ", selection FROM replay_job WHERE id = ? AND consumer = '' FOR UPDATE",
        id);
    if (!row) return false;
    job = read_job(*row);
    std::tie(order, progress) = decode_topic_order(row->get<std::string>("selection"));
    order.rate = job.rate;
    order.operator_name = job.operator_name;
    order.reason = job.reason;
    job.topic = order.topic;
    return true;
  }

  mysql::Pool& pool;
  std::optional<JobLock> lock;
  TopicOrder order;
  std::vector<TopicProgress> progress;
  ReplayJob job;
};

TopicReplay::TopicReplay(mysql::Pool& pool) : state_(std::make_unique<State>(pool)) {}

TopicReplay::~TopicReplay() = default;

void TopicReplay::start(const TopicOrder& order, const std::vector<TopicProgress>& extent) {
  order.validate();
  State& state = *state_;
  state.order = order;
  state.take_lock();
  state.pool.transact([&](mysql::Transaction& tx) {
    tx.execute(
        "INSERT INTO replay_job (consumer, selection, last_id, selected, state, rate, operator, reason, created_at, "
        "updated_at) VALUES ('', ?, 0, ?, 'running', ?, ?, ?, UTC_TIMESTAMP(6), UTC_TIMESTAMP(6))",
        encode_topic_order(order, extent), records_in(extent), order.rate, order.operator_name, order.reason);
    state.load(tx, tx.query("SELECT LAST_INSERT_ID()").at(0).get<std::uint64_t>(0));
  });
}

void TopicReplay::resume(std::uint64_t job_id) {
  State& state = *state_;
  const auto load = [&] {
    if (!state.pool.transact([&](mysql::Transaction& tx) { return state.load(tx, job_id); })) {
      throw MisuseError("there is no replay job " + std::to_string(job_id) + " from a topic; see `dlq-replay jobs`");
    }
  };
  load();
  if (state.job.state == "done") return;
  if (state.job.state == "cancelled") {
    throw MisuseError("replay job " + std::to_string(job_id) + " was cancelled; start a new one");
  }
  state.take_lock();
  load();  // whoever held the lock until now may have moved it
  if (state.job.state == "done") return;
  state.pool.transact([&](mysql::Transaction& tx) {
    tx.execute("UPDATE replay_job SET state = 'running', updated_at = UTC_TIMESTAMP(6) WHERE id = ?", job_id);
  });
  state.job.state = "running";
}

// A commit in doubt is found out by the next one: the checkpoint then is where one of the two says.
bool TopicReplay::advance(const std::vector<TopicProgress>& progress, std::uint64_t replayed, std::uint64_t skipped) {
  State& state = *state_;
  ONCEMARK_FAIL_POINT("topic_replay.after_ack");
  if (!state.lock->keep()) state.refuse_second_run();
  if (progress == state.progress) return true;
  const std::uint64_t checkpoint = state.job.checkpoint + replayed + skipped;
  const bool is_running = state.pool.transact([&](mysql::Transaction& tx) {
    const auto changed = tx.execute(
        "UPDATE replay_job SET selection = ?, checkpoint = ?, replayed = ?, skipped = ?, updated_at = "
        "UTC_TIMESTAMP(6) WHERE id = ? AND state = 'running'",
        encode_topic_order(state.order, progress), checkpoint, state.job.replayed + replayed,
        state.job.skipped + skipped, state.job.id);
    if (changed == 0) (void)state.load(tx, state.job.id);
    return changed > 0;
  });
  if (!is_running) return false;
  state.progress = progress;
  state.job.checkpoint = checkpoint;
  state.job.replayed += replayed;
  state.job.skipped += skipped;
  ONCEMARK_FAIL_POINT("topic_replay.after_advance");
  return true;
}

void TopicReplay::end(const std::string& to_state) {
  State& state = *state_;
  state.pool.transact([&](mysql::Transaction& tx) {
    tx.execute("UPDATE replay_job SET state = ?, updated_at = UTC_TIMESTAMP(6) WHERE id = ? AND state = 'running'",
               to_state, state.job.id);
  });
  state.job.state = to_state;
  state.lock.reset();
}

const TopicOrder& TopicReplay::order() const noexcept { return state_->order; }

const std::vector<TopicProgress>& TopicReplay::progress() const noexcept { return state_->progress; }

const ReplayJob& TopicReplay::job() const noexcept { return state_->job; }

bool TopicReplay::is_topic_job(mysql::Pool& pool, std::uint64_t job_id) {
  return pool.transact([&](mysql::Transaction& tx) {
    return tx.query_row("SELECT id FROM replay_job WHERE id = ? AND consumer = ''", job_id).has_value();
  });
}

}  // namespace oncemark::dead_letter
