#include <oncemark/inbox/dedup.hpp>

#include <algorithm>
#include <chrono>
#include <set>
#include <utility>

#include <oncemark/core/error.hpp>
#include <oncemark/core/faults.hpp>
#include <oncemark/inbox/mysql_store.hpp>
#include <oncemark/message/codec.hpp>
#include <oncemark/observe/log.hpp>
#include <oncemark/observe/metric_names.hpp>

#include "core/mutants.hpp"
#include "core/utf8.hpp"
#include "inbox/dedup_run.hpp"
#include "inbox/ordered.hpp"

namespace oncemark::inbox {

using consume::Handled;

namespace {

// Groups without a failure before one is tried without savepoints again.
constexpr int kWaryGroups = 8;

bool is_name(const std::string& name) {
  if (name.empty() || name.size() > 100) return false;
  for (const char c : name) {
    const bool ok =
        (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
    if (!ok) return false;
  }
  return true;
}

}  // namespace

void DedupOptions::validate() const {
  if (!is_name(consumer)) {
    throw ConfigError("DedupOptions::consumer", "DedupOptions::consumer is \"" + consumer +
                                                    "\"; it must be 1 to 100 characters of A-Z a-z 0-9 . _ -");
  }
  if (!effects) {
    throw ConfigError("DedupOptions::effects",
                      "DedupOptions::effects is not set; say Effects::transaction when everything the handler does "
                      "is in its transaction, else Effects::outside");
  }
  for (const std::string& field : conflict_fields) (void)JsonPointer(field);
  horizon.validate();
  hint_use.validate();
}

Dedup::Dedup(mysql::Pool& pool, DedupOptions options, Effect effect, Metrics& metrics)
    : ordered_(std::make_unique<Ordered>(pool, options.consumer, options.horizon, options.effects == Effects::outside,
                                         [this](Group group, mysql::Transaction& tx) { run_parked(group, tx); })),
      owned_store_(std::make_unique<MysqlStore>(pool, options.horizon, ordered_.get())),
      store_(*owned_store_),
      options_(std::move(options)),
      key_from_(options_.key_from.value_or(KeyFrom::message_id())),
      conflict_fields_(options_.conflict_fields.begin(), options_.conflict_fields.end()),
      effect_(std::move(effect)),
      metrics_(metrics),
      hint_(std::make_unique<HintUse>(options_.hint, options_.hint_use, options_.consumer, metrics)) {
  options_.validate();
}

Dedup::Dedup(Store& store, DedupOptions options, Effect effect, Metrics& metrics)
    : store_(store),
      options_(std::move(options)),
      key_from_(options_.key_from.value_or(KeyFrom::message_id())),
      conflict_fields_(options_.conflict_fields.begin(), options_.conflict_fields.end()),
      effect_(std::move(effect)),
      metrics_(metrics),
      hint_(std::make_unique<HintUse>(options_.hint, options_.hint_use, options_.consumer, metrics)) {
  options_.validate();
}

Dedup::~Dedup() = default;

void Dedup::prepare() { store_.prepare(); }

void Dedup::check_topics(const std::vector<std::string>& topics) const {
  if (topics.size() <= 1 || key_from_.is_global()) return;
  std::string names;
  for (const std::string& topic : topics) names += (names.empty() ? "" : ", ") + topic;
  throw MisuseError("consumer " + options_.consumer + " reads " + std::to_string(topics.size()) + " topics (" + names +
                    ") and takes its business key from the record: order 7 of one topic would be taken for invoice 7 "
                    "of another; make one Dedup with a consumer name of its own for each topic, or leave key_from "
                    "unset, so that the message id is the key");
}

bool Dedup::is_reachable() noexcept { return store_.is_reachable(); }

std::vector<std::uint32_t> Dedup::note(Group messages) { return store_.note(options_.consumer, messages); }

std::uint32_t Dedup::note_alone(const Message& message) { return store_.note_alone(options_.consumer, message); }

void Dedup::withdraw(Group messages) noexcept {
  try {
    store_.withdraw(options_.consumer, messages);
  } catch (...) {
    // They err by one try: a message is handled alone a little earlier.
    log(LogLevel::info, "messages that were not handled stay noted as suspects",
        {{"consumer", options_.consumer}, {"text", summarize_current_exception().text}});
  }
}

void Dedup::identify(Message& message) const {
  if (!conflict_fields_.empty()) message.content_hash = json_hash(message.payload, conflict_fields_);
  // On the group's own retry topic the key came with the record: it names the row that waits, whatever key_from
  // would say today.
  if (message.from_retry_topic) return;
  try {
    message.business_key = key_from_.extract(message);
  } catch (const PermanentError& error) {
    if (options_.missing_key == MissingKey::dead_letter) throw;
    throw MisuseError(std::string(error.what()) + "; DedupOptions::missing_key is stop");
  }
}

std::vector<bool> Dedup::known_done(Group messages) noexcept { return hint_->known_done(messages); }

consume::Outcome Dedup::handle(const Message& message) {
  const Message* const only = &message;
  const Handled handled = handle(Group(&only, 1));
  if (handled.messages.front().failure) std::rethrow_exception(handled.messages.front().failure);
  return handled.messages.front().outcome;
}

Handled Dedup::handle(Group group) {
  // A retried record has a state of its own to leave, and an effect outside must not be run again for a neighbour's
  // failure: both go alone.
  std::size_t together = 0;
  if (options_.effects == Effects::transaction) {
    while (together < group.size() && !group[together]->from_retry_topic) ++together;
  }
  group = group.first(std::max<std::size_t>(together, 1));
  const Look looked{hint_->look(group)};
  // What was noted as in hand has to be settled in MySQL: its note would count against it otherwise.
  const bool is_noted = std::ranges::any_of(group, [](const Message* message) { return message->suspect_tries > 0; });
  const bool skips = hint_->skips() && looked.has_hits() && !is_noted;
  return skips ? skip_hits(group, looked) : claim_and_run(group, looked);
}

Handled Dedup::claim_and_run(Group group, const Look& looked) {
  if (ordered_ && ordered_->is_checking()) return handle_in_order(group, looked);
  return run_group(group, looked);
}

Handled Dedup::run_group(Group group, const Look& looked) {
  if (group.size() == 1) return handle_alone(*group.front(), looked);
  // Where messages have failed lately, the run without savepoints would be in vain again.
  const bool may_fail = !batch_effect_ && wary_groups_.load(std::memory_order_relaxed) > 0;
  return may_fail ? handle_with_savepoints(group, looked) : handle_together(group, looked);
}

/// Those that the hint calls done are duplicates; the others are handled as if they had come alone.
Handled Dedup::skip_hits(Group group, const Look& looked) {
  std::vector<const Message*> unknown;
  std::vector<std::size_t> places;
  for (std::size_t i = 0; i < group.size(); ++i) {
    if (looked.hit(i)) continue;
    unknown.push_back(group[i]);
    places.push_back(i);
  }
  Handled handled;
  if (!unknown.empty()) handled = claim_and_run(unknown, {{.epoch = looked.epoch, .hits = {}}});
  if (handled.failure) return handled;

  // After the last that was tried nothing may be settled, unless all were.
  const std::size_t tried = handled.messages.size();
  std::vector<consume::Settled> settled(tried == unknown.size() ? group.size() : places[tried - 1] + 1,
                                        {.outcome = consume::Outcome::duplicate});
  for (std::size_t n = 0; n < tried; ++n) settled[places[n]] = std::move(handled.messages[n]);
  hint_->skipped(settled.size() - tried);
  return {.messages = std::move(settled)};
}

Handled Dedup::handle_alone(const Message& message, const Look& looked) {
  const Message* const only = &message;
  const Group group(&only, 1);
  Run run(1);
  try {
    const auto claims = store_.settle(options_.consumer, group, [&](Claims claimed, mysql::Transaction& tx) {
      ONCEMARK_FAIL_POINT("dedup.after_claim");
      if (has_mutant("redis_before_commit")) hint_->settled(looked, group, claimed);
      const ledger::Claim& claim = claimed.front();
      if (claim.is_fresh) apply(claim.whole ? *claim.whole : message, tx, run, 0);
      tx.flush();
      ONCEMARK_FAIL_POINT("dedup.after_handler");
      return std::vector<std::size_t>();
    });
    ONCEMARK_FAIL_POINT("dedup.after_commit");
    hint_->settled(looked, group, claims);
    return {.messages = outcomes(group, claims, std::move(run))};
  } catch (const ParkedKeys&) {
    throw;
  } catch (...) {
    return {.messages = {{.failure = std::current_exception(), .took = run.took.front()}}};
  }
}

Handled Dedup::handle_together(Group group, const Look& looked) {
  Run run(group.size());
  std::vector<ledger::Claim> claims;
  try {
    claims = store_.settle(options_.consumer, group, [&](Claims claimed, mysql::Transaction& tx) {
      ONCEMARK_FAIL_POINT("dedup.after_claim");
      if (has_mutant("redis_before_commit")) hint_->settled(looked, group, claimed);
      if (batch_effect_) {
        apply_batch(group, claimed, tx, run);
      } else {
        for (std::size_t i = 0; i < group.size(); ++i) {
          if (claimed[i].is_fresh) apply(*group[i], tx, run, i);
        }
      }
      tx.flush();
      ONCEMARK_FAIL_POINT("dedup.after_handler");
      return run.undone;
    });
  } catch (const ParkedKeys&) {
    throw;
  } catch (const Error& error) {
    // A lost race, a commit in doubt: the whole group is tried again. Anything else may be some message's fault.
    if (error.is_infrastructure() && error.kind() != ErrorKind::unavailable) {
      return {.failure = std::current_exception()};
    }
    note_rerun(group);
    return handle_with_savepoints(group, looked);
  } catch (...) {
    note_rerun(group);
    return handle_with_savepoints(group, looked);
  }
  ONCEMARK_FAIL_POINT("dedup.after_commit");
  hint_->settled(looked, group, claims, run.undone);
  return {.messages = outcomes(group, claims, std::move(run))};
}

/// Inside a catch block.
void Dedup::note_rerun(Group group) {
  wary_groups_.store(kWaryGroups, std::memory_order_relaxed);
  const ErrorSummary error = summarize_current_exception();
  metrics_.count(metric::kGroupsRunAgain, {{"consumer", options_.consumer}, {"error", error.error_class}}, 1);
  log(LogLevel::debug, "a group failed and is run again, message by message",
      {{"consumer", options_.consumer},
       {"messages", group.size()},
       {"error", error.error_class},
       {"text", error.text}});
}

Handled Dedup::handle_with_savepoints(Group group, const Look& looked) {
  Run run(group.size());
  std::size_t tried = group.size();  // messages before the one that nothing may overtake, and that one
  const bool is_in_order = ordered_ && ordered_->is_checking();
  std::vector<ledger::Claim> claims;
  try {
    claims = store_.settle(options_.consumer, group, [&](Claims claimed, mysql::Transaction& tx) {
      ONCEMARK_FAIL_POINT("dedup.after_claim");
      if (has_mutant("redis_before_commit")) hint_->settled(looked, group, claimed);
      std::size_t i = 0;
      bool is_saved = false;
      std::set<std::string> failed_keys;  // what comes later of them must not overtake
      for (; i < group.size() && tried == group.size(); ++i) {
        if (!claimed[i].is_fresh) continue;
        const auto key = is_in_order ? ledger::order_key_of(*group[i]) : std::nullopt;
        if (key && failed_keys.contains(*key)) {
          run.is_left[i] = true;
          run.undone.push_back(i);
          continue;
        }
        if (!is_saved) tx.savepoint("oncemark_message");
        is_saved = false;
        try {
          apply(*group[i], tx, run, i);
          tx.flush();  // what fails of it is this message's fault
        } catch (...) {
          if (tx.is_doomed()) throw;
          tx.rollback_to("oncemark_message");
          is_saved = true;  // it is still there, with the same work before it
          run.failures[i] = std::current_exception();
          run.undone.push_back(i);
          if (key) failed_keys.insert(*key);
          const ErrorSummary error = summarize_current_exception();
          if (error.is_infrastructure || error.kind == ErrorKind::misuse) tried = i + 1;
        }
      }
      for (; i < group.size(); ++i) {  // not tried: their claims go back too
        if (claimed[i].is_fresh) run.undone.push_back(i);
      }
      ONCEMARK_FAIL_POINT("dedup.after_handler");
      return run.undone;
    });
  } catch (const ParkedKeys&) {
    throw;
  } catch (...) {
    return {.failure = std::current_exception()};
  }
  ONCEMARK_FAIL_POINT("dedup.after_commit");
  if (!run.undone.empty()) {
    wary_groups_.store(kWaryGroups, std::memory_order_relaxed);
  } else if (wary_groups_.load(std::memory_order_relaxed) > 0) {
    wary_groups_.fetch_sub(1, std::memory_order_relaxed);
  }
  hint_->settled(looked, group, claims, run.undone);
  return {.messages = outcomes(group.first(tried), std::span(claims).first(tried), std::move(run))};
}

/// One message through whichever effect there is; throws what it threw or reported.
void Dedup::apply(const Message& message, mysql::Transaction& tx, Run& run, std::size_t place) {
  const auto begin = std::chrono::steady_clock::now();
  const auto stop_clock = [&] { run.took[place] = std::chrono::steady_clock::now() - begin; };
  try {
    if (batch_effect_) {
      Batch batch({&message});
      batch_effect_(batch, tx);
      if (batch.failures().front()) std::rethrow_exception(batch.failures().front());
    } else {
      effect_(message, tx);
    }
  } catch (...) {
    stop_clock();
    throw;
  }
  stop_clock();
}

void Dedup::apply_batch(Group group, Claims claims, mysql::Transaction& tx, Run& run) {
  std::vector<const Message*> fresh;
  std::vector<std::size_t> places;
  for (std::size_t i = 0; i < group.size(); ++i) {
    if (!claims[i].is_fresh) continue;
    fresh.push_back(group[i]);
    places.push_back(i);
  }
  if (fresh.empty()) return;
  Batch batch(std::move(fresh));
  const auto begin = std::chrono::steady_clock::now();
  batch_effect_(batch, tx);
  const std::chrono::nanoseconds share = (std::chrono::steady_clock::now() - begin) / places.size();
  for (const std::size_t place : places) run.took[place] = share;
  for (std::size_t i = 0; i < places.size(); ++i) {
    const std::exception_ptr& failure = batch.failures()[i];
    if (!failure) continue;
    run.failures[places[i]] = failure;
    run.undone.push_back(places[i]);
    try {
      std::rethrow_exception(failure);
    } catch (...) {
      // It will be tried in place, so a later message of its key must not be committed now.
      const ErrorSummary error = summarize_current_exception();
      if (error.is_infrastructure || error.kind == ErrorKind::misuse) throw;
    }
  }
  if (has_run_past_a_failure(group, claims, run)) {
    throw Error(ErrorKind::transient, "a batch reported a message as failed, and holds later ones of its key");
  }
}

std::vector<consume::Settled> Dedup::outcomes(Group group, Claims claims, Run run) {
  std::vector<consume::Settled> settled;
  settled.reserve(group.size());
  for (std::size_t i = 0; i < group.size(); ++i) {
    if (claims[i].is_key_conflict) {
      settled.push_back(conflict(*group[i]));
      continue;
    }
    if (claims[i].is_older_than_horizon) {
      run.failures[i] = std::make_exception_ptr(ledger::OlderThanHorizonError(options_.consumer, *group[i]));
    }
    const auto outcome = run.is_left[i]       ? consume::Outcome::unsettled
                         : claims[i].is_fresh ? consume::Outcome::done
                                              : consume::Outcome::duplicate;
    settled.push_back({.outcome = outcome, .failure = std::move(run.failures[i]), .took = run.took[i]});
  }
  return settled;
}

consume::Settled Dedup::conflict(const Message& message) {
  const bool is_letter = options_.on_key_conflict == OnKeyConflict::dead_letter;
  metrics_.count(metric::kKeyConflicts, {{"consumer", options_.consumer}}, 1);
  log(LogLevel::warn,
      is_letter ? "key conflict: a message with the same business key had other contents; this one is dead-lettered"
                : "key conflict: a message with the same business key had other contents; treated as a duplicate",
      {{"consumer", options_.consumer}, {"business_key", message.business_key}, {"record", message.read_at.str()}});
  if (!is_letter) return {.outcome = consume::Outcome::duplicate};
  return {.failure = std::make_exception_ptr(KeyConflictError(
              "record " + message.read_at.str() + " has the business key " + utf8::in_quotes(message.business_key) +
              " of a message with other contents; if it shall take effect all the same, replay this letter")),
          .stage = consume::Stage::key};
}

}  // namespace oncemark::inbox
