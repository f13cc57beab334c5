#include <algorithm>
#include <iostream>

#include <oncemark/mysql/epoch.hpp>
#include <oncemark/mysql/migration.hpp>
#include <oncemark/version.hpp>

#include "grants.hpp"
#include "messages.hpp"
#include "output.hpp"
#include "program.hpp"
#include "schema_verify.hpp"

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

int verify(const Globals& globals) {
  const config::Settings settings = globals.settings();
  const auto pool = open_pool(settings);
  std::vector<Deviation> found;
  first_contact(settings, [&] { found = schema_deviations(*pool); });
  for (const Deviation& one : found) {
    if (globals.json) {
      print_json({{"where", one.where}, {"text", one.text}});
    } else {
      std::cout << one.where << " " << one.text << '\n';
    }
  }
  if (found.empty() && !globals.json) {
    std::cout << "Database " << settings.mysql.schema << " has every table, column and key of version "
              << kSchemaVersion << ".\n";
  }
  if (!found.empty()) {
    say("Next: `oncemark schema apply` for what is missing; `oncemark schema print` for what it should be");
  }
  return found.empty() ? kDone : kUnhealthy;
}

int print_grants(const Globals& globals, const std::vector<std::string>& roles) {
  const config::Settings settings = globals.settings();
  const std::string schema = settings.mysql.schema.empty() ? "SCHEMA" : settings.mysql.schema;
  const std::string user = settings.mysql.user.empty() ? "USER" : settings.mysql.user;
  std::vector<std::string> chosen = roles;
  if (chosen.empty()) chosen.assign(std::begin(kRoles), std::end(kRoles));
  for (const std::string& role : chosen) {
    std::vector<std::string> statements;
    if (role == "migrate") statements.push_back(grant_statement({migration_privileges()}, schema, "*", user));
    if (const auto global = global_rights_of(role); !global.empty()) {
      statements.push_back(grant_statement(global, "*", "*", user));
    }
    for (const Right& right : rights_of(role)) {
      statements.push_back(grant_statement(right.privileges, schema, right.table, user));
    }
    if (globals.json) {
      print_json({{"role", role}, {"statements", statements}});
      continue;
    }
    std::cout << "-- " << role << '\n';
    for (const std::string& statement : statements) std::cout << statement << '\n';
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
  add("verify", "compare tables, columns and keys with what the migrations make; exit code 4 when they differ",
      "  oncemark schema verify", verify);

  CLI::App& grants = add_verb(
      parent, "grants", "print the rights that the configured account needs, by role; needs no database",
      "  oncemark schema grants --role consumer --role relay\n"
      "\nRoles: producer (appends to the outbox), relay, binlog-relay (one with --source bell or binlog), capture\n"
      "(and SELECT on what it captures), consumer, report (`reconcile run`, lists and status), operator (replays,\n"
      "repairs, sweeps), migrate (`schema apply`, `partitions`). A service that does several needs the rights of\n"
      "each, and those on its own tables.");
  auto roles = std::make_shared<std::vector<std::string>>();
  grants.add_option("--role", *roles, "only this role; may be given several times")
      ->type_name("ROLE")
      ->allow_extra_args(false);
  grants.callback([&program, roles] {
    program.chosen = [&program, roles] {
      log_as_messages();
      return print_grants(program.globals, *roles);
    };
  });
}

}  // namespace oncemark::tools
