#include <oncemark/inbox/dedup.hpp>

#include <utility>

#include <oncemark/core/error.hpp>
#include <oncemark/core/faults.hpp>
#include <oncemark/inbox/mysql_store.hpp>
#include <oncemark/message/codec.hpp>
#include <oncemark/observe/log.hpp>
#include <oncemark/observe/metric_names.hpp>

namespace oncemark::inbox {
namespace {

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
}

Dedup::Dedup(mysql::Pool& pool, DedupOptions options, Effect effect, Metrics& metrics)
    : owned_store_(std::make_unique<MysqlStore>(pool)),
      store_(*owned_store_),
      options_(std::move(options)),
      effect_(std::move(effect)),
      metrics_(metrics) {
  options_.validate();
}

Dedup::Dedup(Store& store, DedupOptions options, Effect effect, Metrics& metrics)
    : store_(store), options_(std::move(options)), effect_(std::move(effect)), metrics_(metrics) {
  options_.validate();
}

Dedup::~Dedup() = default;

void Dedup::prepare() { store_.prepare(); }

bool Dedup::is_reachable() noexcept { return store_.is_reachable(); }

void Dedup::identify(Message& message) const {
  // On the group's own retry topic the key came with the record: it names the row that waits, whatever key_from
  // would say today.
  if (message.from_retry_topic) return;
  try {
    message.business_key = options_.key_from.value_or(KeyFrom::message_id()).extract(message);
  } catch (const PermanentError& error) {
    if (options_.missing_key == MissingKey::dead_letter) throw;
    throw MisuseError(std::string(error.what()) + "; DedupOptions::missing_key is stop");
  }
}

consume::Outcome Dedup::handle(const Message& message) {
  const std::span<const Message> group(&message, 1);
  const auto claims =
      store_.settle(options_.consumer, group, [&](std::span<const ledger::Claim> claimed, mysql::Transaction& tx) {
        ONCEMARK_FAIL_POINT("dedup.after_claim");
        if (claimed.front().is_fresh) effect_(message, tx);
        ONCEMARK_FAIL_POINT("dedup.after_handler");
        return std::vector<std::size_t>();
      });
  ONCEMARK_FAIL_POINT("dedup.after_commit");
  return outcomes(group, claims).front().outcome;
}

std::vector<consume::Settled> Dedup::handle(std::span<const Message> group) {
  // A retried record has a state of its own to leave, and an effect outside must not be run again for a neighbour's
  // failure: both go alone.
  std::size_t together = 0;
  if (options_.effects == Effects::transaction) {
    while (together < group.size() && !group[together].from_retry_topic) ++together;
  }
  return together > 1 ? handle_together(group.first(together)) : handle_alone(group.front());
}

std::vector<consume::Settled> Dedup::handle_alone(const Message& message) {
  try {
    return {{.outcome = handle(message)}};
  } catch (...) {
    return {{.failure = std::current_exception()}};
  }
}

std::vector<consume::Settled> Dedup::handle_together(std::span<const Message> group) {
  std::vector<ledger::Claim> claims;
  try {
    claims =
        store_.settle(options_.consumer, group, [&](std::span<const ledger::Claim> claimed, mysql::Transaction& tx) {
          ONCEMARK_FAIL_POINT("dedup.after_claim");
          for (std::size_t i = 0; i < group.size(); ++i) {
            if (claimed[i].is_fresh) effect_(group[i], tx);
          }
          ONCEMARK_FAIL_POINT("dedup.after_handler");
          return std::vector<std::size_t>();
        });
  } catch (const Error& error) {
    // A lost race, a lost connection: the whole group is tried again, smaller. Anything else is some message's fault.
    if (error.is_infrastructure() && error.kind() != ErrorKind::unavailable)
      return {{.failure = std::current_exception()}};
    return handle_with_savepoints(group);
  } catch (...) {
    return handle_with_savepoints(group);
  }
  ONCEMARK_FAIL_POINT("dedup.after_commit");
  return outcomes(group, claims);
}

std::vector<consume::Settled> Dedup::handle_with_savepoints(std::span<const Message> group) {
  std::vector<std::exception_ptr> failures(group.size());
  std::size_t tried = group.size();  // messages before the one that nothing may overtake, and that one
  std::vector<ledger::Claim> claims;
  try {
    claims =
        store_.settle(options_.consumer, group, [&](std::span<const ledger::Claim> claimed, mysql::Transaction& tx) {
          ONCEMARK_FAIL_POINT("dedup.after_claim");
          std::vector<std::size_t> undone;
          std::size_t i = 0;
          for (; i < group.size() && tried == group.size(); ++i) {
            if (!claimed[i].is_fresh) continue;
            tx.savepoint("oncemark_message");
            try {
              effect_(group[i], tx);
            } catch (...) {
              if (tx.is_doomed()) throw;
              tx.rollback_to("oncemark_message");
              failures[i] = std::current_exception();
              undone.push_back(i);
              const ErrorSummary error = summarize_current_exception();
              if (error.is_infrastructure || error.kind == ErrorKind::misuse) tried = i + 1;
            }
          }
          for (; i < group.size(); ++i) {  // not tried: their claims go back too
            if (claimed[i].is_fresh) undone.push_back(i);
          }
          ONCEMARK_FAIL_POINT("dedup.after_handler");
          return undone;
        });
  } catch (...) {
    return {{.failure = std::current_exception()}};
  }
  ONCEMARK_FAIL_POINT("dedup.after_commit");
  std::vector<consume::Settled> settled = outcomes(group.first(tried), std::span(claims).first(tried));
  for (std::size_t i = 0; i < tried; ++i) settled[i].failure = failures[i];
  return settled;
}

std::vector<consume::Settled> Dedup::outcomes(std::span<const Message> group, std::span<const ledger::Claim> claims) {
  note_conflicts(group, claims);
  std::vector<consume::Settled> settled;
  settled.reserve(group.size());
  for (const ledger::Claim& claim : claims) {
    settled.push_back({.outcome = claim.is_fresh ? consume::Outcome::done : consume::Outcome::duplicate});
  }
  return settled;
}

void Dedup::note_conflicts(std::span<const Message> group, std::span<const ledger::Claim> claims) {
  for (std::size_t i = 0; i < group.size(); ++i) {
    if (!claims[i].is_key_conflict) continue;
    metrics_.count(metric::kKeyConflicts, {{"consumer", options_.consumer}}, 1);
    log(LogLevel::warn,
        "key conflict: a message with the same business key had another payload; treated as a duplicate",
        {{"consumer", options_.consumer}, {"business_key", group[i].business_key}, {"record", group[i].read_at.str()}});
  }
}

}  // namespace oncemark::inbox
