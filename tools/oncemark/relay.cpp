#include <algorithm>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <thread>

#include <oncemark/binlog/bell.hpp>
#include <oncemark/binlog/relay.hpp>
#include <oncemark/core/loop.hpp>
#include <oncemark/core/signals.hpp>
#include <oncemark/kafka/producer.hpp>
#include <oncemark/observe/log.hpp>
#include <oncemark/outbox/relay.hpp>

#include "output.hpp"
#include "program.hpp"
#include "reconcile.hpp"
#include "stuck.hpp"

namespace oncemark::tools {
namespace {

using namespace std::chrono_literals;

constexpr auto kReportEvery = 60s;
constexpr auto kLookEvery = 500ms;

enum class Source { poll, bell, binlog };

struct RunFlags {
  std::vector<std::string> names;
  bool remove_sent = false;
  bool reconcile = false;
  Source source = Source::poll;
  bool from_now = false;
  bool rows_pass = false;
};

/// One relay with the producer that belongs to it alone.
struct Running {
  Running(mysql::Pool& pool, const config::Settings& settings, const RunFlags& flags, std::string relay_name)
      : name(std::move(relay_name)), producer(settings.kafka) {
    outbox::RelayOptions options = settings.relay;
    options.name = name;
    if (flags.source != Source::binlog) {
      polling.emplace(pool, producer, std::move(options));
      return;
    }
    decoding.emplace(pool, producer,
                     binlog::RelayOptions{.outbox = std::move(options),
                                          .rows = flags.rows_pass ? binlog::Rows::pass : binlog::Rows::stay,
                                          .start = flags.from_now ? binlog::Start::now : binlog::Start::checkpoint});
  }

  [[nodiscard]] outbox::RelayCounts counts() const {
    if (polling) return polling->counts();
    const binlog::RelayCounts counts = decoding->counts();
    return {.sent = counts.sent, .refused = counts.refused, .dead = counts.dead, .shards = counts.shards};
  }
  [[nodiscard]] std::optional<std::string> failure() const { return decoding ? decoding->failure() : std::nullopt; }
  void stop() {
    if (polling) polling->stop();
    if (decoding) decoding->stop();
  }

  std::string name;
  kafka::Producer producer;
  std::optional<outbox::Relay> polling;
  std::optional<binlog::Relay> decoding;
};

void report(const std::deque<Running>& relays, std::string_view text) {
  for (const Running& running : relays) {
    const outbox::RelayCounts counts = running.counts();
    log(LogLevel::info, text,
        {{"relay", running.name},
         {"sent", counts.sent},
         {"refused", counts.refused},
         {"dead", counts.dead},
         {"shards", counts.shards}});
    if (!running.decoding) continue;
    const binlog::RelayCounts more = running.decoding->counts();
    log(LogLevel::info, "the binlog so far",
        {{"relay", running.name},
         {"place", binlog::to_string(more.place)},
         {"gtids", more.place.gtids},
         {"scans", more.scans},
         {"gaps", more.gaps}});
  }
}

// Until a signal, or until one of them has ended by itself; false then.
bool run_until_stopped(const std::deque<Running>& relays, const std::stop_token& stop) {
  for (auto next_report = std::chrono::steady_clock::now() + kReportEvery; wait_for(stop, kLookEvery);) {
    for (const Running& running : relays) {
      if (running.failure()) return false;
    }
    if (std::chrono::steady_clock::now() < next_report) continue;
    report(relays, "relay so far");
    next_report += kReportEvery;
  }
  return true;
}

/// Compares both sides now and then, beside relaying; nothing when it was not asked for.
std::optional<std::jthread> reconciling(mysql::Pool& pool, const config::Settings& settings, const RunFlags& flags) {
  if (!flags.reconcile) return std::nullopt;
  auto reconciler = std::make_shared<reconcile::Reconciler>(pool, reconcile_options(settings));
  return std::jthread([reconciler](std::stop_token stop) {
    try {
      reconciler->run(std::move(stop));
    } catch (const std::exception& error) {
      log(LogLevel::error, "the reconciliation cannot work", {{"text", error.what()}});
    }
  });
}

int run_relays(const Globals& globals, const RunFlags& flags) {
  const StopOnSignal signals;  // before any other thread
  config::Settings settings = globals.settings();
  if (flags.remove_sent) settings.relay.sent_rows = outbox::SentRows::removed;
  std::vector<std::string> names = flags.names;
  if (names.empty()) names.push_back(settings.relay.name);
  // Each relay borrows one connection at a time, beside the one that holds its lease; a reconciliation borrows two.
  settings.mysql.size = std::max(settings.mysql.size, names.size() + (flags.reconcile ? 3 : 1));
  const auto pool = open_pool(settings);
  if (!await_database(settings, *pool, signals.token())) return kDone;

  std::deque<Running> relays;  // its elements never move
  for (const std::string& name : names) relays.emplace_back(*pool, settings, flags, name);
  std::optional<binlog::Bell> bell;
  if (flags.source == Source::bell) {
    bell.emplace(*pool, [&relays](const std::string& name) {
      for (Running& running : relays) {
        if (running.name == name) running.polling->nudge();
      }
    });
  }
  log(LogLevel::info, "relaying",
      {{"relays", relays.size()},
       {"mysql", settings.mysql.url},
       {"schema", settings.mysql.schema},
       {"brokers", settings.kafka.brokers}});
  auto reconciliation = reconciling(*pool, settings, flags);
  const bool is_well = run_until_stopped(relays, signals.token());
  reconciliation.reset();

  bell.reset();
  for (Running& running : relays) running.stop();
  report(relays, "relay stopped");
  if (globals.json) {
    for (const Running& running : relays) {
      const outbox::RelayCounts counts = running.counts();
      print_json({{"relay", running.name}, {"sent", counts.sent}, {"refused", counts.refused}, {"dead", counts.dead}});
    }
  }
  return is_well ? kDone : kFailed;
}

void check(const RunFlags& flags) {
  if (flags.source == Source::binlog) return;
  if (flags.from_now)
    throw UsageError("--from-now is for --source binlog: a relay that polls has no place in the binlog");
  if (flags.rows_pass) throw UsageError("--rows-pass is for --source binlog: a relay that polls needs the rows");
}

}  // namespace

void add_relay_verbs(CLI::App& parent, Program& program) {
  CLI::App& run =
      add_verb(parent, "run", "run until SIGINT or SIGTERM; waits for database and broker when they are away",
               "  outbox-relay run                       # the relay named in [relay] name, or \"main\"\n"
               "  outbox-relay run --name main --name shipping\n"
               "  outbox-relay run --source binlog        # in the order of commits, out of the binlog\n"
               "\nLogs go to standard error (ONCEMARK_LOG=debug|info|warn|error). Any number of processes\n"
               "may run a relay of one name: they share its work.");
  auto flags = std::make_shared<RunFlags>();
  run.add_option("-n,--name", flags->names, "whose rows to send; may be given several times")
      ->type_name("NAME")
      ->allow_extra_args(false);
  run.add_flag("--remove-sent", flags->remove_sent, "delete rows once they are sent, instead of keeping them marked");
  run.add_flag("--reconcile", flags->reconcile,
               "compare what was sent with what was done every [reconcile] interval (1h); differences go to the log");
  run.add_option("--source", flags->source, "poll (the default), bell or binlog: see docs/operations.md")
      ->type_name("SOURCE")
      ->transform(CLI::CheckedTransformer(
          std::map<std::string, Source>{{"poll", Source::poll}, {"bell", Source::bell}, {"binlog", Source::binlog}}));
  run.add_flag("--from-now", flags->from_now,
               "binlog: go on from its present end, whatever the checkpoint says; unsent rows are found in the table");
  run.add_flag("--rows-pass", flags->rows_pass,
               "binlog: producers remove their rows at once; what is purged before it was read is lost");
  run.callback([&program, flags] {
    check(*flags);
    program.chosen = [&program, flags] { return run_relays(program.globals, *flags); };
  });
  add_stuck_verbs(parent, program);
}

}  // namespace oncemark::tools
