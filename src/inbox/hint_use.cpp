#include "inbox/hint_use.hpp"

#include <algorithm>
#include <set>
#include <utility>

#include <oncemark/message/codec.hpp>
#include <oncemark/message/names.hpp>
#include <oncemark/observe/log.hpp>
#include <oncemark/observe/metric_names.hpp>

namespace oncemark::inbox {
namespace {

/// Nothing but the ledger decides about a message that has been somewhere else before.
bool is_first_delivery(const Message& message) {
  return !message.from_retry_topic && !message.headers.text(names::kReplayId);
}

SeenMark mark_of(const Message& message) {
  return {.business_key = message.business_key, .payload_hash = content_hash(message)};
}

}  // namespace

HintUse::HintUse(SeenHint* hint, const HintOptions& options, std::string consumer, Metrics& metrics)
    : hint_(hint), options_(options), consumer_(std::move(consumer)), metrics_(metrics), share_(options.ask_above) {
  options_.validate();
}

HintUse::Look HintUse::look(Group group) {
  if (hint_ == nullptr) return {};
  Look looked{.epoch = hint_->epoch(), .hits = {}};
  if (looked.epoch == 0) return looked;
  {
    const std::lock_guard lock(mutex_);
    if (!share_.is_frequent()) return looked;
  }
  std::vector<SeenMark> marks;
  std::vector<std::size_t> places;
  for (std::size_t i = 0; i < group.size(); ++i) {
    // One that is noted as a suspect has to be cleared by a claim.
    if (!is_first_delivery(*group[i]) || group[i]->suspect_tries > 0) continue;
    marks.push_back(mark_of(*group[i]));
    places.push_back(i);
  }
  if (marks.empty()) return looked;
  const std::vector<bool> seen = hint_->seen(consumer_, marks);
  if (seen.empty()) return looked;
  looked.hits.resize(group.size());
  std::size_t hits = 0;
  for (std::size_t n = 0; n < places.size(); ++n) {
    looked.hits[places[n]] = seen[n];
    hits += seen[n] ? 1 : 0;
  }
  metrics_.count(metric::kHintAsked, {{"consumer", consumer_}}, static_cast<double>(marks.size()));
  metrics_.count(metric::kHintHits, {{"consumer", consumer_}}, static_cast<double>(hits));
  return looked;
}

std::vector<bool> HintUse::known_done(Group messages) {
  if (hint_ == nullptr || !skips() || !hint_->is_in_memory()) return {};
  Look looked = look(messages);
  if (!looked.has_hits()) return {};
  skipped(static_cast<std::size_t>(std::ranges::count(looked.hits, true)));
  return std::move(looked.hits);
}

void HintUse::skipped(std::size_t skipped) { add(skipped, skipped); }

void HintUse::settled(const Look& looked, Group group, std::span<const ledger::Claim> claims,
                      std::span<const std::size_t> undone) {
  if (hint_ == nullptr) return;
  std::vector<SeenMark> done;
  std::size_t duplicates = 0;
  std::size_t wrong = 0;
  std::set<std::string_view> keys;
  for (std::size_t i = 0; i < claims.size(); ++i) {
    if (!claims[i].is_fresh) ++duplicates;
    if (claims[i].is_fresh && looked.hit(i)) ++wrong;
    // A copy inside the group was told from the one before it in memory: it says nothing about the row.
    if (!keys.insert(group[i]->business_key).second || !is_first_delivery(*group[i])) continue;
    if (std::ranges::find(undone, i) != undone.end() || claims[i].is_older_than_horizon) continue;
    if (claims[i].is_fresh) {
      done.push_back(mark_of(*group[i]));
    } else if (claims[i].standing.state == ledger::State::done && !looked.hit(i)) {
      done.push_back({.business_key = group[i]->business_key, .payload_hash = claims[i].standing.payload_hash});
    }
  }
  add(claims.size(), duplicates);
  if (wrong > 0) {
    metrics_.count(metric::kHintWrong, {{"consumer", consumer_}}, static_cast<double>(wrong));
    log(LogLevel::error,
        "the hint called messages done that are not; after a restore or a reset run `oncemark schema new-epoch`, and "
        "do not use Trust::skip before that",
        {{"consumer", consumer_}, {"messages", wrong}});
  }
  if (!done.empty()) hint_->remember(consumer_, looked.epoch, done);
}

void HintUse::add(std::size_t messages, std::size_t duplicates) {
  const std::lock_guard lock(mutex_);
  share_.add(messages, duplicates);
}

}  // namespace oncemark::inbox
