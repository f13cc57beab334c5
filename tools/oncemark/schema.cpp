#include <algorithm>
#include <iostream>

#include <oncemark/mysql/epoch.hpp>
#include <oncemark/mysql/migration.hpp>
#include <oncemark/version.hpp>

#include "messages.hpp"
#include "output.hpp"
#include "program.hpp"

namespace oncemark::tools {
namespace {

using mysql::MigrationState;

std::string state_of(const MigrationState& state) {
  if (!state.is_applied) return "missing";
  if (!state.checksum_matches) return "changed";
  return state.migration.version > kSchemaVersion ? "newer than this program" : "applied";
}

Json to_json(const MigrationState& state) {
  return {{"version", state.migration.version},
          {"name", state.migration.name},
          {"state", state_of(state)},
          {"applied_at", state.is_applied ? Json(state.applied_at) : Json()},
          {"checksum", state.migration.checksum}};
}

int print_schema(const Globals& globals) {
  if (globals.json) {
    for (const mysql::Migration& migration : mysql::migrations()) {
      print_json({{"version", migration.version},
                  {"name", migration.name},
                  {"checksum", migration.checksum},
                  {"lowest_library", migration.lowest_library},
                  {"sql", migration.sql}});
    }
  } else {
    std::cout << mysql::print_migrations();
  }
  return kDone;
}

int apply_schema(const Globals& globals) {
  const config::Settings settings = globals.settings();
  const auto pool = open_pool(settings);
  std::vector<int> versions;
  first_contact(settings, [&] { versions = mysql::apply_migrations(*pool); });
  if (globals.json) {
    print_json({{"schema", settings.mysql.schema}, {"applied", versions}});
  } else if (versions.empty()) {
    std::cout << "Database " << settings.mysql.schema << " is up to date (version " << kSchemaVersion << ").\n";
  } else {
    for (const int version : versions) std::cout << "Applied version " << version << ".\n";
    std::cout << "Database " << settings.mysql.schema << " is up to date.\n";
  }
  return kDone;
}

int show_status(const Globals& globals) {
  const config::Settings settings = globals.settings();
  const auto pool = open_pool(settings);
  std::vector<MigrationState> states;
  first_contact(settings, [&] { states = mysql::migration_status(*pool); });
  Table table({{"VERSION", Table::Align::right}, {"NAME"}, {"STATE"}, {"APPLIED AT (UTC)"}});
  for (const MigrationState& state : states) {
    if (globals.json) print_json(to_json(state));
    table.add({std::to_string(state.migration.version), state.migration.name, state_of(state),
               state.applied_at.substr(0, 19)});
  }
  if (!globals.json) std::cout << table.str();
  const bool is_missing = std::ranges::any_of(states, [](const MigrationState& state) { return !state.is_applied; });
  const bool is_changed = std::ranges::any_of(states, [](const MigrationState& s) { return !s.checksum_matches; });
  if (is_missing) say("Next: oncemark schema apply");
  if (is_changed) say("warning: a migration that was applied has another text than the one of this program");
  return is_missing || is_changed ? kUnhealthy : kDone;
}

int draw_new_epoch(const Globals& globals) {
  const config::Settings settings = globals.settings();
  const auto pool = open_pool(settings);
  std::uint64_t epoch = 0;
  first_contact(settings, [&] { epoch = mysql::draw_epoch(*pool); });
  if (globals.json) {
    print_json({{"schema", settings.mysql.schema}, {"epoch", epoch}});
  } else {
    std::cout << "Database " << settings.mysql.schema << " has a new epoch, " << epoch
              << ". All hints in Redis are void; running consumers see it within epoch_interval (5 s).\n";
  }
  return kDone;
}

/// The name in quotes, or a placeholder when it is not configured.
std::string quoted(const std::string& name, const char* placeholder, char quote) {
  std::string text(1, quote);
  for (const char c : name.empty() ? std::string(placeholder) : name) {
    if (c == quote) text += c;
    text += c;
  }
  return text + quote;
}

int print_grants(const Globals& globals) {
  const config::Settings settings = globals.settings();
  const std::string on = " ON " + quoted(settings.mysql.schema, "SCHEMA", '`') + ".* TO " +
                         quoted(settings.mysql.user, "USER", '\'') + "@'%';";
  const std::string run = "GRANT SELECT, INSERT, UPDATE, DELETE" + on;
  const std::string migrate = "GRANT CREATE, ALTER, INDEX, DROP, REFERENCES, LOCK TABLES" + on;
  if (globals.json) {
    print_json({{"run", run}, {"migrate", migrate}});
  } else {
    std::cout << "-- to run services, relays and dlq-replay\n"
              << run << "\n-- in addition, for the account that runs `oncemark schema apply` and `partitions rotate`\n"
              << migrate << '\n';
  }
  return kDone;
}

}  // namespace

void add_schema_verbs(CLI::App& parent, Program& program) {
  const auto add = [&](const char* name, const char* description, const char* examples, int (*action)(const Globals&)) {
    add_verb(parent, name, description, examples).callback([&program, action] {
      program.chosen = [&program, action] {
        log_as_messages();
        return action(program.globals);
      };
    });
  };
  add("print", "print every migration as SQL, for a DBA; needs no database", "  oncemark schema print > oncemark.sql",
      print_schema);
  add("apply", "apply the migrations that are missing; safe to run twice", "  oncemark schema apply", apply_schema);
  add("status", "what is applied and what is missing; exit code 4 when something is",
      "  oncemark schema status\n  oncemark schema status --json | jq -r .state", show_status);
  add("new-epoch", "after a restore, a copy or a reset of marks: make all hints in Redis void; harmless otherwise",
      "  oncemark schema new-epoch", draw_new_epoch);
  add("grants", "print the rights that the configured account needs", "  oncemark schema grants", print_grants);
}

}  // namespace oncemark::tools
