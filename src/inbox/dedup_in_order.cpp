// What a Dedup does with a group while keys may have parked messages.
#include <map>
#include <optional>
#include <set>
#include <utility>

#include <oncemark/inbox/dedup.hpp>

#include "inbox/dedup_run.hpp"
#include "inbox/ordered.hpp"

namespace oncemark::inbox {
namespace {

using consume::Handled;
using consume::Outcome;
using consume::Settled;

Settled left_over() { return {.outcome = Outcome::unsettled}; }

Settled no_room(const consume::KeyOrder& limits) {
  return {.failure = std::make_exception_ptr(consume::SequenceFullError(
              "no room to park one more message: a sequence holds " + std::to_string(limits.max_per_key) +
              " messages, all of a consumer " + std::to_string(limits.max_total) +
              "; look at `oncemark parked list`, and release or replay what stopped")),
          .is_held = true};
}

}  // namespace

struct Dedup::ParkedPlaces {
  std::map<std::string, std::vector<std::size_t>> of_key;  // by order key; places in the group
};

/// Those of keys that have a sequence are appended to it, the others are run. Which is which is found out by the
/// transaction that would run them.
Handled Dedup::handle_in_order(Group group, const Look& looked) {
  std::vector<std::optional<std::string>> keys;
  for (const Message* message : group) {
    keys.push_back(message->from_retry_topic ? std::nullopt : ledger::order_key_of(*message));
  }
  std::set<std::string> parked;
  for (;;) {
    std::vector<const Message*> running;
    std::vector<std::size_t> places;
    Look narrowed{{.epoch = looked.epoch, .hits = {}}};
    for (std::size_t i = 0; i < group.size(); ++i) {
      if (keys[i] && parked.contains(*keys[i])) continue;
      running.push_back(group[i]);
      places.push_back(i);
      narrowed.hits.push_back(looked.hit(i));
    }
    Handled ran;
    try {
      if (!running.empty()) ran = run_group(running, narrowed);
    } catch (const ParkedKeys& found) {
      parked.insert(found.order_keys.begin(), found.order_keys.end());
      continue;
    }
    if (ran.failure) return ran;

    // After the last that was tried nothing may be settled, unless all were.
    const std::size_t tried = ran.messages.size();
    const std::size_t end = tried == running.size() ? group.size() : places[tried - 1] + 1;
    std::vector<Settled> settled(end, left_over());
    for (std::size_t n = 0; n < tried; ++n) settled[places[n]] = std::move(ran.messages[n]);
    ParkedPlaces waiting;
    for (std::size_t i = 0; i < end; ++i) {
      if (keys[i] && parked.contains(*keys[i])) waiting.of_key[*keys[i]].push_back(i);
    }
    if (!waiting.of_key.empty()) park(group, waiting, settled);
    return {.messages = std::move(settled)};
  }
}

/// Appends messages to the sequences of their keys, and writes down what became of each.
void Dedup::park(Group group, const ParkedPlaces& places, std::vector<Settled>& settled) {
  std::vector<Ordered::OfKey> keys;
  for (const auto& [key, members] : places.of_key) {
    auto& messages = keys.emplace_back(Ordered::OfKey{.order_key = key, .messages = {}}).messages;
    for (const std::size_t i : members) messages.push_back(group[i]);
  }
  std::vector<Ordered::Parking> parkings = ordered_->park(keys);
  auto parking = parkings.begin();
  for (const auto& [key, members] : places.of_key) {
    const Ordered::Parking& end = *parking++;
    if (end.failure) settled[members.front()] = {.failure = end.failure};
    if (end.failure || end.is_gone) continue;  // gone: all of them come again, and are run
    const std::size_t taken = end.claims.size();
    std::vector<const Message*> messages;
    for (const std::size_t i : members) messages.push_back(group[i]);
    std::vector<Settled> ends = outcomes(Group(messages).first(taken), end.claims, Run(taken));
    for (std::size_t n = 0; n < taken; ++n) {
      if (end.claims[n].is_fresh) ends[n].outcome = Outcome::parked;
      settled[members[n]] = std::move(ends[n]);
    }
    if (taken < members.size()) settled[members[taken]] = no_room(ordered_->order());
  }
}

/// A batch whose effect reported a failure of one message has run the later ones of its key already.
bool Dedup::has_run_past_a_failure(Group group, Claims claims, const Run& run) const {
  if (!ordered_ || !ordered_->is_checking()) return false;
  std::set<std::string> failed;
  for (std::size_t i = 0; i < group.size(); ++i) {
    const auto key = ledger::order_key_of(*group[i]);
    if (!key || !claims[i].is_fresh) continue;
    if (failed.contains(*key)) return true;
    if (run.failures[i]) failed.insert(*key);
  }
  return false;
}

consume::Sequences* Dedup::sequences() noexcept { return ordered_.get(); }

/// Of messages that are run from their sequence: all, or an exception.
void Dedup::run_parked(Group group, mysql::Transaction& tx) {
  if (!batch_effect_) {
    for (const Message* message : group) effect_(*message, tx);
    return;
  }
  Batch batch(std::vector<const Message*>(group.begin(), group.end()));
  batch_effect_(batch, tx);
  for (const std::exception_ptr& failure : batch.failures()) {
    if (failure) std::rethrow_exception(failure);
  }
}

}  // namespace oncemark::inbox
