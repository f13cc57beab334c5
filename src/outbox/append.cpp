#include <oncemark/outbox/append.hpp>

#include <algorithm>
#include <chrono>
#include <string>

#include <oncemark/core/error.hpp>
#include <oncemark/core/id.hpp>
#include <oncemark/message/codec.hpp>
#include <oncemark/mysql/row_values.hpp>

namespace oncemark::outbox {
namespace {

Time database_now(mysql::Transaction& tx) { return tx.query_row("SELECT UTC_TIMESTAMP(6)")->get<Time>(0); }

void check_all(std::span<const Draft> drafts) {
  for (std::size_t i = 0; i < drafts.size(); ++i) {
    try {
      check_draft(drafts[i]);
    } catch (const PermanentError& error) {
      throw PermanentError("draft " + std::to_string(i) + " of " + std::to_string(drafts.size()) + ": " + error.what());
    }
  }
}

}  // namespace

// sent_at has a value from the start, so that marking the row does not change its size (ADR 12).
std::vector<std::string> append_all(mysql::Transaction& tx, std::span<const Draft> drafts) {
  check_all(drafts);
  if (drafts.empty()) return {};
  const Time now = database_now(tx);
  std::vector<std::string> ids;
  mysql::RowValues values;
  for (const Draft& draft : drafts) {
    ids.push_back(draft.id.empty() ? MessageId::generate(SystemClock().now()).str() : draft.id);
    const std::string& id = ids.back();
    const Status status = draft.delay.count() > 0 ? Status::waiting : Status::pending;
    values.add(id, draft.relay, shard_of(draft.key, id), draft.topic, draft.key,
               draft.business_key.empty() ? Bytes() : Bytes(draft.business_key), draft.event_time.value_or(now),
               draft.payload, encode_headers(draft.headers), to_string(status), now + draft.delay, now, now,
               payload_hash(draft.payload));
  }
  tx.insert_rows(
      "INSERT INTO outbox_message (message_id, relay, shard, topic, message_key, business_key, event_time, payload, "
      "headers, status, available_at, created_at, sent_at, payload_hash)",
      values);
  return ids;
}

std::string append_at(mysql::Transaction& tx, Draft draft, Time at) {
  if (draft.delay.count() != 0) {
    throw PermanentError("outbox draft: delay is " + std::to_string(draft.delay.count()) +
                         " ms beside a time; give one of them");
  }
  const auto ahead = std::chrono::ceil<std::chrono::milliseconds>(at - database_now(tx));
  draft.delay = std::max(ahead, std::chrono::milliseconds::zero());
  return append(tx, draft);
}

}  // namespace oncemark::outbox
