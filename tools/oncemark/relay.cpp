#include <algorithm>
#include <deque>
#include <memory>
#include <optional>
#include <thread>

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

/// One relay with the producer that belongs to it alone.
struct Running {
  Running(mysql::Pool& pool, const config::Settings& settings, std::string relay_name)
      : name(std::move(relay_name)), producer(settings.kafka), relay(pool, producer, named(settings.relay, name)) {}

  static outbox::RelayOptions named(outbox::RelayOptions options, const std::string& relay_name) {
    options.name = relay_name;
    return options;
  }

  std::string name;
  kafka::Producer producer;
  outbox::Relay relay;
};

void report(const std::deque<Running>& relays, std::string_view text) {
  for (const Running& running : relays) {
    const outbox::RelayCounts counts = running.relay.counts();
    log(LogLevel::info, text,
        {{"relay", running.name},
         {"sent", counts.sent},
         {"refused", counts.refused},
         {"dead", counts.dead},
         {"shards", counts.shards}});
  }
}

struct RunFlags {
  std::vector<std::string> names;
  bool remove_sent = false;
  bool reconcile = false;
};

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
  for (const std::string& name : names) relays.emplace_back(*pool, settings, name);
  log(LogLevel::info, "relaying",
      {{"relays", relays.size()},
       {"mysql", settings.mysql.url},
       {"schema", settings.mysql.schema},
       {"brokers", settings.kafka.brokers}});
  auto reconciliation = reconciling(*pool, settings, flags);
  while (wait_for(signals.token(), kReportEvery)) report(relays, "relay so far");
  reconciliation.reset();

  for (Running& running : relays) running.relay.stop();
  report(relays, "relay stopped");
  if (globals.json) {
    for (const Running& running : relays) {
      const outbox::RelayCounts counts = running.relay.counts();
      print_json({{"relay", running.name}, {"sent", counts.sent}, {"refused", counts.refused}, {"dead", counts.dead}});
    }
  }
  return kDone;
}

}  // namespace

void add_relay_verbs(CLI::App& parent, Program& program) {
  CLI::App& run =
      add_verb(parent, "run", "run until SIGINT or SIGTERM; waits for database and broker when they are away",
               "  outbox-relay run                       # the relay named in [relay] name, or \"main\"\n"
               "  outbox-relay run --name main --name shipping\n"
               "\nLogs go to standard error (ONCEMARK_LOG=debug|info|warn|error). Any number of processes\n"
               "may run a relay of one name: they share its work.");
  auto flags = std::make_shared<RunFlags>();
  run.add_option("-n,--name", flags->names, "whose rows to send; may be given several times")
      ->type_name("NAME")
      ->allow_extra_args(false);
  run.add_flag("--remove-sent", flags->remove_sent, "delete rows once they are sent, instead of keeping them marked");
  run.add_flag("--reconcile", flags->reconcile,
               "compare what was sent with what was done every [reconcile] interval (1h); differences go to the log");
  run.callback(
      [&program, flags] { program.chosen = [&program, flags] { return run_relays(program.globals, *flags); }; });
  add_stuck_verbs(parent, program);
}

}  // namespace oncemark::tools
