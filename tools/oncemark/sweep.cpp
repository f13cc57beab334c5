#include <iostream>
#include <memory>
#include <thread>
#include <type_traits>
#include <utility>

#include <oncemark/core/error.hpp>
#include <oncemark/core/signals.hpp>
#include <oncemark/housekeeping/sweeper.hpp>
#include <oncemark/housekeeping/watchdog.hpp>
#include <oncemark/mysql/migration.hpp>
#include <oncemark/observe/log.hpp>

#include "messages.hpp"
#include "output.hpp"
#include "program.hpp"

namespace oncemark::tools {
namespace {

using housekeeping::SweepCounts;
using housekeeping::WatchdogCounts;

/// What `make` makes; an error in an option names the key and where it was set.
template <typename Make>
std::invoke_result_t<Make> checked(const std::string& section, const config::Settings& settings, Make&& make) {
  try {
    return make();
  } catch (const ConfigError& error) {
    const std::string key = section + "." + error.key();
    throw ConfigError(key,
                      std::string(error.what()) + "\n  config: " + key + ", " + std::string(settings.origin_of(key)));
  }
}

/// Both tools of the housekeeping, as the settings say.
struct Keepers {
  Keepers(mysql::Pool& pool, const config::Settings& settings)
      : sweeper(checked("retention", settings,
                        [&] { return std::make_unique<housekeeping::Sweeper>(pool, settings.retention); })),
        watchdog(checked("watchdog", settings,
                         [&] { return std::make_unique<housekeeping::Watchdog>(pool, settings.watchdog); })) {}

  std::unique_ptr<housekeeping::Sweeper> sweeper;
  std::unique_ptr<housekeeping::Watchdog> watchdog;
};

int run_sweeper(const Globals& globals) {
  const StopOnSignal signals;  // before any other thread
  const config::Settings settings = globals.settings();
  const auto pool = open_pool(settings);
  const Keepers keepers(*pool, settings);
  if (!await_database(settings, *pool, signals.token())) return kDone;
  log(LogLevel::info, "sweeping",
      {{"mysql", settings.mysql.url},
       {"schema", settings.mysql.schema},
       {"marks_s", settings.retention.marks.count()},
       {"outbox_s", settings.retention.outbox.count()},
       {"overdue_s", settings.watchdog.overdue.count()}});
  {
    const std::jthread watching([&](std::stop_token stop) {  // stopped when the sweeper ends, however it does
      try {
        keepers.watchdog->run(std::move(stop));
      } catch (const std::exception& error) {
        log(LogLevel::error, "the watchdog cannot work", {{"text", error.what()}});
      }
    });
    keepers.sweeper->run(signals.token());
  }
  log(LogLevel::info, "sweeping stopped");
  return kDone;
}

int sweep_once(const Globals& globals, bool is_dry_run) {
  const StopOnSignal signals;
  const config::Settings settings = globals.settings();
  const auto pool = open_pool(settings);
  const Keepers keepers(*pool, settings);
  std::optional<SweepCounts> swept;
  WatchdogCounts looked;
  first_contact(settings, [&] {
    mysql::require_schema(*pool);
    swept = is_dry_run ? keepers.sweeper->count(signals.token()) : keepers.sweeper->sweep(signals.token());
    if (swept) looked = is_dry_run ? keepers.watchdog->count() : keepers.watchdog->look(signals.token());
  });
  if (!swept) {
    say("error: another sweeper is at work on database " + settings.mysql.schema);
    return kLocked;
  }
  if (globals.json) {
    print_json({{"dry_run", is_dry_run},
                {"marks", swept->marks},
                {"marks_seen", swept->marks_seen},
                {"outbox_rows", swept->outbox_rows},
                {"letters", swept->letters},
                {"suspects", swept->suspects},
                {"overdue", looked.overdue},
                {"resent", looked.resent}});
    return kDone;
  }
  const char* verb = is_dry_run ? "Would remove " : "Removed ";
  std::cout << verb << grouped(swept->marks) << " of " << grouped(swept->marks_seen) << " marks, "
            << grouped(swept->outbox_rows) << " outbox rows, " << grouped(swept->letters) << " letters, "
            << grouped(swept->suspects) << " notes of suspects.\n";
  if (is_dry_run) {
    std::cout << grouped(looked.overdue) << " messages are overdue for their retry.\n";
  } else {
    std::cout << "Sent " << grouped(looked.resent) << " of " << grouped(looked.overdue) << " overdue messages again.\n";
  }
  return kDone;
}

int show_sweep_status(const Globals& globals) {
  const config::Settings settings = globals.settings();
  const auto pool = open_pool(settings);
  mysql::Rows horizons;
  mysql::Rows progress;
  first_contact(settings, [&] {
    pool->transact([&](mysql::Transaction& tx) {
      horizons = tx.query(
          "SELECT consumer, origin_topic, origin_partition, event_time, purged_at FROM consumed_horizon "
          "ORDER BY consumer, origin_topic, origin_partition");
      progress = tx.query(
          "SELECT scope, retention, position <> '', updated_at FROM sweep_progress WHERE task = 'marks' "
          "ORDER BY scope");
    });
  });
  Table sweeps({{"CONSUMER"}, {"MARKS KEPT", Table::Align::right}, {"SWEPT LAST (UTC)"}, {"ROUND"}});
  for (const mysql::Row& row : progress) {
    const std::chrono::seconds kept(row.get<std::int64_t>(1));
    const bool is_half = row.get<bool>(2);
    if (globals.json) {
      print_json({{"consumer", row.get<std::string>(0)},
                  {"marks_kept_s", kept.count()},
                  {"swept_at", to_json(row.get<Time>(3))},
                  {"complete", !is_half}});
    }
    sweeps.add({row.get<std::string>(0), short_duration(kept), short_time(row.get<Time>(3)),
                is_half ? "half-way" : "complete"});
  }
  Table table({{"CONSUMER"}, {"TOPIC"}, {"PARTITION", Table::Align::right}, {"HORIZON (UTC)"}, {"RAISED AT (UTC)"}});
  for (const mysql::Row& row : horizons) {
    if (globals.json) {
      print_json({{"consumer", row.get<std::string>(0)},
                  {"topic", row.get<std::string>(1)},
                  {"partition", row.get<std::int32_t>(2)},
                  {"horizon", to_json(row.get<Time>(3))},
                  {"raised_at", to_json(row.get<Time>(4))}});
    }
    table.add({row.get<std::string>(0), row.get<std::string>(1), std::to_string(row.get<std::int32_t>(2)),
               short_time(row.get<Time>(3)), short_time(row.get<Time>(4))});
  }
  if (globals.json) return kDone;
  if (progress.empty()) say("No marks have been swept in database " + settings.mysql.schema + " so far.");
  std::cout << sweeps.str() << (horizons.empty() ? "" : "\n") << table.str();
  return kDone;
}

}  // namespace

void add_sweep_verbs(CLI::App& parent, Program& program) {
  CLI::App& run = add_verb(parent, "run", "sweep and watch until SIGINT or SIGTERM; waits for the database",
                           "  oncemark sweep run\n"
                           "\nWhat is kept for how long: [retention] in the configuration; what is overdue: "
                           "[watchdog].\nOf several that run on one database, one works.");
  run.callback([&program] { program.chosen = [&program] { return run_sweeper(program.globals); }; });

  CLI::App& once = add_verb(parent, "once", "one round",
                            "  oncemark sweep once --dry-run\n"
                            "  oncemark sweep once --json");
  auto is_dry_run = std::make_shared<bool>(false);
  once.add_flag("--dry-run", *is_dry_run, "count what would be removed and sent again; change nothing");
  once.callback([&program, is_dry_run] {
    program.chosen = [&program, is_dry_run] {
      log_as_messages();
      return sweep_once(program.globals, *is_dry_run);
    };
  });

  CLI::App& status = add_verb(parent, "status", "how far marks have been purged, by consumer and partition",
                              "  oncemark sweep status");
  status.callback([&program] {
    program.chosen = [&program] {
      log_as_messages();
      return show_sweep_status(program.globals);
    };
  });
}

}  // namespace oncemark::tools
