#include "command_line.hpp"

#include <array>
#include <filesystem>
#include <fstream>
#include <iostream>

#include <oncemark/config/values.hpp>
#include <oncemark/observe/log.hpp>
#include <oncemark/version.hpp>

#include "capture.hpp"
#include "dlq.hpp"
#include "manual.hpp"
#include "program.hpp"

namespace oncemark::tools {
namespace {

constexpr const char* kGuide =
    "\nSettings come from --config FILE, else $ONCEMARK_CONFIG, ./oncemark.toml,\n"
    "$XDG_CONFIG_HOME/oncemark/oncemark.toml or /etc/oncemark/oncemark.toml; ONCEMARK_SECTION__KEY in the\n"
    "environment overrides the file.\n"
    "\nExit codes: 0 done, 1 failed, 2 usage or configuration, 3 done in part, 4 not as it should be,\n"
    "5 nothing matched, 6 needs confirmation, 7 database or broker unreachable, 8 another run is at work,\n"
    "130 or 143 stopped by a signal.\n"
    "\nExamples:\n";

void add_manual_verb(CLI::App& parent, Program& program);

CLI::App& add_family(CLI::App& app, const std::string& name, const std::string& description) {
  CLI::App& family = *app.add_subcommand(name, description);
  family.require_subcommand(1);
  return family;
}

void define(CLI::App& app, const std::string& name, Program& program) {
  app.name(name);
  app.fallthrough();  // before any subcommand is added, which inherits it: global flags may then follow the verb
  app.set_version_flag(
      "--version", "oncemark " + std::string(kVersion) + " (schema version " + std::to_string(kSchemaVersion) + ")");
  app.add_option("-c,--config", program.globals.config, "configuration file")->type_name("FILE");
  app.add_flag("--json", program.globals.json, "machine-readable output");
  app.require_subcommand(1);
  const std::string guide = kGuide;
  if (name == "dlq-replay") {
    app.description("Dead letters: look at them, and replay them.");
    app.footer(guide +
               "  dlq-replay topics\n"
               "  dlq-replay list --consumer shipping --since 2h\n"
               "  dlq-replay run --consumer shipping --fingerprint 9f2c --dry-run");
    add_dlq_verbs(app, program);
  } else if (name == "outbox-relay") {
    app.description("Carries committed outbox rows to Kafka.");
    app.footer(guide + "  outbox-relay run --config /etc/oncemark/oncemark.toml --name main");
    add_relay_verbs(app, program);
  } else if (name == "reconcile") {
    app.description("Compares what was sent with what was done, and repairs what differs.");
    app.footer(guide +
               "  reconcile run\n"
               "  reconcile run --repair --reason 'topic was made anew'");
    add_reconcile_verbs(app, program);
  } else {
    app.description("Operates oncemark: dead letters, retries, outbox relay, reconciliation, retention, schema.");
    app.footer(guide +
               "  oncemark schema apply\n"
               "  oncemark dlq topics\n"
               "  oncemark relay run --name main\n"
               "  oncemark sweep run");
    add_capture_verbs(add_family(app, "capture", "changes of tables as messages, out of the binlog"), program);
    add_config_verbs(add_family(app, "config", "what the programs were told, and by whom"), program);
    add_dedup_verbs(add_family(app, "dedup", "what is remembered as done: make consumers forget it"), program);
    add_dlq_verbs(add_family(app, "dlq", "dead letters: look at them, and replay them (also: dlq-replay)"), program);
    add_doctor_verb(app, program);
    add_find_verb(app, program);
    add_relay_verbs(add_family(app, "relay", "carries outbox rows to Kafka (also: outbox-relay)"), program);
    add_half_verbs(add_family(app, "half", "transactional messages: run the check-back, settle what it cannot"),
                   program);
    add_parked_verbs(
        add_family(app, "parked", "keys that wait in order behind a failed message: see them, release them"), program);
    add_partitions_verbs(add_family(app, "partitions", "consumed_message by day, for a purge that costs nothing"),
                         program);
    add_reconcile_verbs(
        add_family(app, "reconcile", "compares what was sent with what was done, and repairs it (also: reconcile)"),
        program);
    add_retry_verbs(add_family(app, "retry", "what waits for a later attempt: see it, hasten it, cancel it"), program);
    add_schema_verbs(add_family(app, "schema", "our tables in MySQL or MariaDB"), program);
    add_manual_verb(app, program);
    add_skip_verb(app, program);
    add_sweep_verbs(add_family(app, "sweep", "keeps the tables small, and sends again what was lost"), program);
  }
}

// ---- manual: what is installed beside the program ----

struct ManualFlags {
  std::string folder;
};

void write_file(const std::filesystem::path& file, const std::string& text) {
  std::ofstream out(file, std::ios::binary);
  if (!(out << text).flush()) throw std::runtime_error(printable(file.string(), 200) + " cannot be written");
}

int write_manual(const Globals&, const ManualFlags& flags) {
  const std::filesystem::path folder(flags.folder);
  std::filesystem::create_directories(folder);
  Program ignored;
  std::array<CLI::App, 4> apps;
  std::vector<const CLI::App*> programs;
  constexpr std::array kNames{"oncemark", "dlq-replay", "outbox-relay", "reconcile"};
  for (std::size_t i = 0; i < apps.size(); ++i) {
    define(apps[i], kNames[i], ignored);
    programs.push_back(&apps[i]);
    write_file(folder / (std::string(kNames[i]) + ".1"),
               man_page(apps[i], {{"dlq", "dlq-replay"}, {"relay", "outbox-relay"}, {"reconcile", "reconcile"}}));
  }
  write_file(folder / "oncemark.bash", bash_completion(programs));
  write_file(folder / "_oncemark", zsh_completion(programs));
  return kDone;
}

void add_manual_verb(CLI::App& parent, Program& program) {
  CLI::App& verb = add_verb(parent, "manual", "write man pages, and completion for bash and zsh, into a folder",
                            "  oncemark manual ./manual && man ./manual/dlq-replay.1");
  auto flags = std::make_shared<ManualFlags>();
  verb.add_option("DIR", flags->folder, "the folder, made when it is missing")->required();
  on_chosen(verb, program, std::move(flags), write_manual);
}

/// The verb that was recognised last, or the program itself.
const CLI::App& deepest(const CLI::App& app) {
  const CLI::App* at = &app;
  while (!at->get_subcommands().empty()) at = at->get_subcommands().front();
  return *at;
}

std::vector<std::string> flags_of(const CLI::App& app) {
  std::vector<std::string> flags;
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& name : option->get_lnames()) flags.push_back("--" + name);
  }
  return flags;
}

std::vector<std::string> verbs_of(const CLI::App& app) {
  std::vector<std::string> verbs;
  for (const CLI::App* verb : app.get_subcommands({})) verbs.push_back(verb->get_name());
  return verbs;
}

std::string joined(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : ", ") + word;
  return text;
}

/// What to say about words that no part of the command line takes.
std::string unexpected(const CLI::App& app, const std::string& word) {
  const CLI::App& verb = deepest(app);
  const bool is_flag = word.starts_with("-");
  std::vector<std::string> known = is_flag ? flags_of(verb) : verbs_of(verb);
  if (is_flag && &verb != &app) {
    for (std::string& flag : flags_of(app)) known.push_back(std::move(flag));
  }
  std::string text = std::string(is_flag         ? "unknown flag "
                                 : known.empty() ? "unexpected argument "
                                                 : "unknown verb ") +
                     printable(word.substr(0, word.find('=')), 60);
  if (const auto near = config::nearest(word.substr(0, word.find('=')), known)) {
    text += ". Did you mean " + *near + "?";
  } else if (!is_flag && !known.empty()) {
    text += "; there are " + joined(known);
  }
  return text;
}

std::string called_as(const CLI::App& app) {
  std::string name = app.get_name();
  for (const CLI::App* at = &app; !at->get_subcommands().empty();) {
    at = at->get_subcommands().front();
    name += " " + at->get_name();
  }
  return name;
}

[[noreturn]] void refuse(const CLI::App& app, const CLI::ParseError& error) {
  const std::vector<std::string> left = app.remaining(true);
  const std::vector<std::string> verbs = verbs_of(deepest(app));
  std::string text;
  if (!left.empty()) {
    text = unexpected(app, left.front());
  } else if (!verbs.empty()) {
    text = "a verb is missing: " + joined(verbs);
  } else {
    text = printable(error.what(), 300);
  }
  throw UsageError(text + "\n  try:    " + called_as(app) + " --help");
}

}  // namespace

int run_command_line(int argc, char** argv) {
  const std::string called = std::filesystem::path(argc > 0 ? argv[0] : "").filename().string();
  CLI::App app;
  Program program;
  const bool is_own_name = called == "dlq-replay" || called == "outbox-relay" || called == "reconcile";
  define(app, is_own_name ? called : "oncemark", program);
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    std::cout << app.help();
    return kDone;
  } catch (const CLI::CallForVersion& version) {
    std::cout << version.what() << '\n';
    return kDone;
  } catch (const CLI::ParseError& error) {
    refuse(app, error);
  }
  return program.chosen();
}

}  // namespace oncemark::tools
