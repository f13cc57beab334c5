#include "kafka/membership.hpp"

#include <syslog.h>

#include <algorithm>
#include <iterator>
#include <utility>

#include <oncemark/core/error.hpp>

#include "kafka/failure.hpp"
#include "kafka/partitions.hpp"
#include "kafka/requests.hpp"

namespace oncemark::kafka {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kStartBound{5'000};  // inside a rebalance
constexpr milliseconds kRetryBound{2'000};  // at a poll after one that failed
constexpr milliseconds kRetryPause{250};
constexpr milliseconds kCommitBound{10'000};
constexpr int kTriesAtOnePlace = 3;

void on_rebalance_event(rd_kafka_t*, rd_kafka_resp_err_t event, rd_kafka_topic_partition_list_t* partitions,
                        void* opaque) noexcept {
  static_cast<Membership*>(static_cast<ClientLog*>(opaque))->on_rebalance(event, partitions);
}

// Progress hints that came too late: another member reads on from the last commit.
bool is_no_member_any_more(int code) {
  return code == RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID || code == RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION ||
         code == RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS || code == RD_KAFKA_RESP_ERR__NO_OFFSET ||
         code == RD_KAFKA_RESP_ERR__STATE || code == RD_KAFKA_RESP_ERR__ASSIGNMENT_LOST;
}

}  // namespace

Membership::Membership(const ConsumerOptions& options)
    : ClientLog("consumer " + options.group),
      options_(options),
      rules_{options.group, options.brokers, options.when_no_offset, options.when_out_of_range} {}

void Membership::attach_to(rd_kafka_conf_t* conf) noexcept {
  rd_kafka_conf_set_rebalance_cb(conf, &on_rebalance_event);
}

void Membership::on_rebalance(rd_kafka_resp_err_t event, const rd_kafka_topic_partition_list_t* partitions) noexcept {
  ++rebalances_;
  try {
    if (event == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS) {
      take(from_native(*partitions));
    } else {
      let_go(rd_kafka_assignment_lost(client_) != 0);
    }
  } catch (...) {
    keep_error(std::current_exception());
  }
}

void Membership::take(const std::vector<TopicPartition>& partitions) {
  pending_ = partitions;
  try {
    start_pending(kStartBound);
  } catch (const Error& error) {
    if (!error.retryable() || pending_.empty()) throw;
    write(LOG_WARNING, "START", error.what() + std::string("; trying again"));
  }
}

void Membership::start_pending(milliseconds bound) {
  try {
    const std::vector<Position> starts =
        pending_.empty() ? std::vector<Position>{}
                         : find_starts(client_, pending_, rules_, bound,
                                       [this](const TopicPartition& partition) { return all_records(partition); });
    fetched_.clear();
    for (const Position& start : starts) {
      fetched_.emplace_back(rd_kafka_queue_get_partition(client_, start.topic.c_str(), start.partition));
    }
    lead_to_records();  // before the assignment, so that nothing goes to the group's own queue
    if (const rd_kafka_resp_err_t error = rd_kafka_assign(client_, to_native(starts).get())) {
      throw failure("starting to read " + list_text(pending_), error);
    }
  } catch (...) {
    read_nothing();
    throw;
  }
  assigned_ = std::exchange(pending_, {});
  if (listener_ && !assigned_.empty()) listener_->assigned(assigned_);
}

void Membership::lead_to_records() noexcept {
  for (const QueueHandle& fetched : fetched_) {
    if (fetched) rd_kafka_queue_forward(fetched.get(), records_);
  }
}

// librdkafka waits for an answer to its callback, and must not read from where it thinks it should.
void Membership::read_nothing() noexcept {
  const PartitionsHandle none(rd_kafka_topic_partition_list_new(0));
  rd_kafka_assign(client_, none.get());
}

void Membership::retry_pending() {
  const auto now = std::chrono::steady_clock::now();
  if (pending_.empty() || now < next_retry_ || rd_kafka_assignment_lost(client_)) return;
  next_retry_ = now + kRetryPause;
  try {
    start_pending(kRetryBound);
  } catch (const Error& error) {
    if (!error.retryable() || pending_.empty()) throw;
    write(LOG_WARNING, "START", error.what() + std::string("; trying again"));
  }
}

void Membership::let_go(bool lost) {
  pending_.clear();
  try {
    tell_revoked(lost);
  } catch (...) {
    rd_kafka_assign(client_, nullptr);
    throw;
  }
  rd_kafka_assign(client_, nullptr);
}

void Membership::tell_revoked(bool lost) {
  read_.clear();
  if (listener_ && !assigned_.empty()) {
    try {
      listener_->revoked(assigned_, lost);
    } catch (...) {
      keep_error(std::current_exception());
    }
  }
  assigned_.clear();
  fetched_.clear();
}

void Membership::lose_all() {
  pending_.clear();
  if (!assigned_.empty()) tell_revoked(true);
}

void Membership::read_again(const Position& place, int code, const std::string& text) {
  Trouble& trouble = troubles_[place.topic_partition()];
  trouble = {place.offset, trouble.offset == place.offset ? trouble.times + 1 : 1};
  const std::vector<TopicPartition> partitions = assigned_;
  tell_revoked(false);
  if (trouble.times > kTriesAtOnePlace) {
    pending_ = partitions;
    read_nothing();
    throw failure("group " + rules_.group + " cannot read on from " + place.str() + " (" + text + ")", code);
  }
  write(LOG_WARNING, "READ", place.str() + ": " + text + "; reading again from the committed positions");
  take(partitions);
}

void Membership::commit(const std::vector<Position>& next) {
  std::vector<Position> ours;
  std::copy_if(next.begin(), next.end(), std::back_inserter(ours),
               [this](const Position& position) { return is_assigned(position.topic_partition()); });
  if (ours.empty()) return;
  const rd_kafka_resp_err_t error = commit_within(client_, ours, kCommitBound);
  if (!error) return;
  if (is_no_member_any_more(error)) {
    write(LOG_INFO, "COMMIT",
          "positions were not committed, the partitions have another owner: " + describe_code(error));
    return;
  }
  throw failure(ErrorKind::unavailable,
                "committing " + std::to_string(ours.size()) + " positions of group " + rules_.group, error,
                cure(error));
}

void Membership::keep_error(std::exception_ptr error) noexcept {
  if (!error_) error_ = std::move(error);
}

void Membership::throw_kept_error() {
  if (error_) std::rethrow_exception(std::exchange(error_, nullptr));
}

// Rare, and only needed where a group read uncommitted records before.
Watermarks Membership::all_records(const TopicPartition& partition) const {
  AdminClient admin(options_.brokers, options_.properties, options_.password_file);
  return admin.watermarks(partition, kRetryBound);
}

bool Membership::is_assigned(const TopicPartition& partition) const {
  return std::find(assigned_.begin(), assigned_.end(), partition) != assigned_.end();
}

}  // namespace oncemark::kafka
