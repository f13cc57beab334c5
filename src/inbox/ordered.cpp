#include "inbox/ordered.hpp"

#include <algorithm>
#include <utility>

#include <oncemark/core/clock.hpp>
#include <oncemark/core/faults.hpp>
#include <oncemark/core/id.hpp>
#include <oncemark/ledger/suspects.hpp>
#include <oncemark/message/names.hpp>

#include "core/mutants.hpp"

namespace oncemark::inbox {
namespace {

/// The keys whose order the messages must keep. A record of the retry topic is out of order by its nature.
template <typename Wanted>
std::vector<std::string> order_keys(Ordered::Group group, Wanted wanted) {
  std::set<std::string> keys;
  for (std::size_t i = 0; i < group.size(); ++i) {
    if (group[i]->from_retry_topic || !wanted(i)) continue;
    if (auto key = ledger::order_key_of(*group[i])) keys.insert(std::move(*key));
  }
  return {keys.begin(), keys.end()};
}

void refuse_parked(mysql::Transaction& tx, const std::string& consumer, const std::vector<std::string>& keys) {
  const std::vector<std::string> found = ledger::find_parked_keys(tx, consumer, keys);
  if (!found.empty()) throw ParkedKeys{{found.begin(), found.end()}};
}

/// Not all of a key fit: what was claimed for the others must go.
struct NoRoom {
  std::size_t fitting;
};

bool is_left_out(const Message& message) {
  return message.payload.is_null() && message.headers.contains(names::kRecordLeftOut);
}

}  // namespace

void Ordered::check_keys(mysql::Transaction& tx, Group group) const {
  if (!is_checking() || has_mutant("no_parking")) return;
  refuse_parked(tx, consumer_, order_keys(group, [](std::size_t) { return true; }));
}

void Ordered::check_fresh(mysql::Transaction& tx, Group group, std::span<const ledger::Claim> claims) const {
  if (!is_checking() || has_mutant("no_parking")) return;
  refuse_parked(tx, consumer_, order_keys(group, [&](std::size_t i) { return claims[i].is_fresh; }));
}

consume::KeyOrder Ordered::order() const {
  const std::lock_guard lock(mutex_);
  return order_;
}

std::vector<Ordered::Parking> Ordered::park(std::span<const OfKey> keys) {
  if (keys.size() > 1) {
    try {
      return park_all(keys);
    } catch (const Error& error) {
      if (error.is_infrastructure()) return std::vector<Parking>(keys.size(), {.failure = std::current_exception()});
    } catch (...) {  // no room, no sequence any more, or a message that cannot be stored: alone it shows whose
    }
  }
  std::vector<Parking> parkings;
  for (const OfKey& key : keys) parkings.push_back(park_one(key));
  return parkings;
}

Ordered::Parking Ordered::park_one(OfKey key) {
  for (;;) {
    try {
      return park_all(std::span(&key, 1)).front();
    } catch (const NoRoom& cut) {
      if (cut.fitting == 0) return {};
      key.messages.resize(cut.fitting);
    } catch (const ParkedKeys&) {  // none: see park_in()
      return {.is_gone = true};
    } catch (...) {
      return {.failure = std::current_exception()};
    }
  }
}

/// All of them, or NoRoom, or ParkedKeys.
std::vector<Ordered::Parking> Ordered::park_all(std::span<const OfKey> keys) {
  const std::uint32_t limit = is_full() ? 0 : order().max_per_key;
  const std::vector<ledger::Claim> claims = pool_.transact([&](mysql::Transaction& tx) {
    std::vector<ledger::Claim> result = park_in(tx, keys, limit);
    tx.flush();
    ONCEMARK_FAIL_POINT("parking.before_commit");
    return result;
  });
  ONCEMARK_FAIL_POINT("parking.after_commit");
  messages_.fetch_add(static_cast<std::uint64_t>(std::ranges::count(claims, true, &ledger::Claim::is_fresh)),
                      std::memory_order_relaxed);
  std::vector<Parking> parkings;
  auto of_key = claims.begin();
  for (const OfKey& key : keys) {
    const auto end = of_key + static_cast<std::ptrdiff_t>(key.messages.size());
    parkings.push_back({.claims = {of_key, end}});
    of_key = end;
  }
  return parkings;
}

/// The claims of all messages, key after key.
std::vector<ledger::Claim> Ordered::park_in(mysql::Transaction& tx, std::span<const OfKey> keys,
                                            std::uint32_t limit) const {
  std::vector<const Message*> messages;
  for (const OfKey& key : keys) messages.insert(messages.end(), key.messages.begin(), key.messages.end());
  std::vector<ledger::Claim> claims = ledger::claim_as_parked(tx, consumer_, messages);
  std::vector<const Message*> near_horizon;
  std::vector<std::size_t> places;
  std::vector<Position> noted;
  const Time now = SystemClock().now();
  for (std::size_t i = 0; i < messages.size(); ++i) {
    if (messages[i]->suspect_tries > 0) noted.push_back(messages[i]->read_at);
    if (!claims[i].is_fresh || !ledger::is_near_horizon(horizon_, *messages[i], now)) continue;
    near_horizon.push_back(messages[i]);
    places.push_back(i);
  }
  for (const std::size_t i : ledger::find_older_than_horizon(tx, consumer_, near_horizon)) {
    claims[places[i]] = {.is_older_than_horizon = true};
    ledger::give_back(tx, consumer_, near_horizon[i]->business_key);
  }
  ledger::clear_suspects(tx, consumer_, noted);

  std::string group;
  {
    const std::lock_guard lock(mutex_);
    group = group_;
  }
  std::size_t first = 0;  // of the key's messages, among all
  for (const OfKey& key : keys) {
    std::vector<const Message*> fresh;
    std::vector<std::size_t> fresh_places;
    for (std::size_t i = 0; i < key.messages.size(); ++i) {
      if (!claims[first + i].is_fresh) continue;
      fresh.push_back(key.messages[i]);
      fresh_places.push_back(i);
    }
    first += key.messages.size();
    if (fresh.empty()) continue;
    const ledger::Appended appended = ledger::append_parked(tx, consumer_, group, key.order_key, fresh, limit);
    if (appended.is_gone) throw ParkedKeys{};  // the claims go with the transaction
    if (appended.messages < fresh.size()) throw NoRoom{fresh_places[appended.messages]};
  }
  return claims;
}

void Ordered::set_mode(Mode mode, const consume::KeyOrder& order, const std::string& group) {
  {
    const std::lock_guard lock(mutex_);
    order_ = order;
    group_ = group;
  }
  max_total_.store(order.max_total, std::memory_order_relaxed);
  mode_.store(mode, std::memory_order_release);
}

Ordered::Counts Ordered::count() {
  const ledger::ParkedCounts counts =
      pool_.transact([&](mysql::Transaction& tx) { return ledger::count_parked(tx, consumer_); });
  messages_.store(counts.messages, std::memory_order_relaxed);
  return {.keys = counts.keys, .stopped = counts.stopped, .messages = counts.messages};
}

bool Ordered::is_full() const noexcept {
  return is_checking() && messages_.load(std::memory_order_relaxed) >= max_total_.load(std::memory_order_relaxed);
}

std::vector<Ordered::Due> Ordered::next_due(std::size_t most) {
  std::vector<Due> due;
  for (ledger::DueHead& head :
       pool_.transact([&](mysql::Transaction& tx) { return ledger::next_due_heads(tx, consumer_, most); })) {
    due.push_back({.order_key = std::move(head.order_key),
                   .head_key = std::move(head.head_key),
                   .wait = head.wait,
                   .tries = head.tries,
                   .depth = head.depth});
  }
  return due;
}

std::vector<Ordered::Taken> Ordered::take(std::span<const Due> heads) {
  std::vector<ledger::DueHead> due;
  for (const Due& head : heads) {
    due.push_back({.order_key = head.order_key, .head_key = head.head_key, .wait = {}, .tries = head.tries});
  }
  const std::uint64_t token = random_token();
  const std::vector<bool> is_taken = pool_.transact(
      [&](mysql::Transaction& tx) { return ledger::take_heads(tx, consumer_, due, token, order().lease); });
  std::vector<Taken> taken;
  for (std::size_t i = 0; i < heads.size(); ++i) {
    if (!is_taken[i]) continue;
    taken.push_back(
        {.order_key = heads[i].order_key, .head_key = heads[i].head_key, .token = token, .tries = heads[i].tries + 1});
  }
  if (taken.empty()) return taken;
  ONCEMARK_FAIL_POINT("parked.after_take");
  return taken;
}

void Ordered::run(std::span<const ledger::ParkedMessage> messages, mysql::Transaction& tx) const {
  std::vector<const Message*> group;
  for (const ledger::ParkedMessage& parked : messages) {
    if (is_left_out(parked.message)) {
      throw PermanentError("the record at " + parked.message.origin.str() +
                           " was too large to be stored, so that it cannot be run from its sequence; send it again");
    }
    group.push_back(&parked.message);
  }
  effects_(group, tx);
  tx.flush();  // before a sequence is locked
}

/// How many of the messages took effect: all, or those before one that failed, which is the head next time.
std::size_t Ordered::run_followers(std::span<const ledger::ParkedMessage> messages, mysql::Transaction& tx) const {
  const auto runs = [&](std::span<const ledger::ParkedMessage> some) {
    tx.savepoint("oncemark_follower");
    try {
      run(some, tx);
      return true;
    } catch (...) {
      if (tx.is_doomed() || summarize_current_exception().is_infrastructure) throw;
      tx.rollback_to("oncemark_follower");
      return false;
    }
  };
  if (messages.empty() || runs(messages)) return messages.size();
  if (messages.size() == 1) return 0;
  std::size_t done = 0;
  while (done < messages.size() && runs(messages.subspan(done, 1))) ++done;
  return done;
}

Ordered::Drained Ordered::drain(const Taken& taken, std::size_t most) {
  std::vector<ledger::ParkedMessage> messages;
  bool has_head_run = false;
  try {
    std::optional<std::string> next;
    auto connection = pool_.acquire();
    mysql::UnitOfWork unit(*connection, mysql::UnitOfWork::Begin::with_first_statement);
    try {
      messages = ledger::lock_parked(unit.tx(), consumer_, taken.order_key, taken.head_key, taken.token,
                                     is_one_by_one_ ? 1 : most);
      if (messages.empty()) {
        // A lane that claims a copy of the head holds its row for as long as its group takes.
        const auto head = ledger::head_taken_with(unit.tx(), consumer_, taken.order_key, taken.token);
        return {.is_over = !head, .is_locked = head.has_value(), .head_key = head.value_or(std::string())};
      }
      // What failed before may fail again, and must not take with it what waits behind it; what waits may ride along.
      run(std::span(messages).first(1), unit.tx());
      has_head_run = true;
      messages.resize(1 + run_followers(std::span(messages).subspan(1), unit.tx()));
      ONCEMARK_FAIL_POINT("parked.after_handler");
      next = ledger::finish_parked(unit.tx(), consumer_, taken.order_key, messages, taken.token, order().lease);
      unit.commit();
    } catch (...) {
      // As for lanes: what doomed the transaction is the reason, whatever the effect threw after it.
      const std::exception_ptr doom = unit.tx().doom();
      unit.rollback();
      if (!unit.is_reusable()) connection.drop();
      if (doom) std::rethrow_exception(doom);
      throw;
    }
    ONCEMARK_FAIL_POINT("parked.after_commit");
    const std::uint64_t counted = messages_.load(std::memory_order_relaxed);
    messages_.fetch_sub(std::min<std::uint64_t>(counted, messages.size()), std::memory_order_relaxed);
    return {.done = messages.size(), .is_over = !next, .head_key = next.value_or(std::string())};
  } catch (...) {
    if (messages.size() == 1 || (!messages.empty() && !has_head_run)) {
      return {.is_over = false,
              .head = std::move(messages.front().message),
              .cause = {.failure = std::current_exception()}};
    }
    return {.is_over = false, .failure = std::current_exception()};
  }
}

std::optional<Message> Ordered::look_at_head(const Taken& taken) {
  return pool_.transact([&](mysql::Transaction& tx) -> std::optional<Message> {
    auto head = ledger::lock_parked(tx, consumer_, taken.order_key, taken.head_key, taken.token, 1);
    if (head.empty()) return std::nullopt;
    return std::move(head.front().message);
  });
}

bool Ordered::put_back(const Taken& taken, std::chrono::milliseconds delay) {
  return pool_.transact([&](mysql::Transaction& tx) {
    return ledger::put_back_head(tx, consumer_, taken.order_key, taken.head_key, taken.token, delay);
  });
}

}  // namespace oncemark::inbox
