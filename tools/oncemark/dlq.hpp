#pragma once

#include <memory>

#include <CLI/CLI.hpp>

#include <oncemark/dead_letter/replay.hpp>
#include <oncemark/dead_letter/store.hpp>
#include <oncemark/mysql/pool.hpp>

#include "output.hpp"
#include "program.hpp"

namespace oncemark::tools {

/// What every dlq command works with: settings, and a database that has our tables.
struct Letters {
  explicit Letters(const Globals& globals);

  config::Settings settings;
  std::unique_ptr<mysql::Pool> pool;
};

/// Sets the verb's action; `Flags` live as long as the program.
template <typename Flags>
void on_chosen(CLI::App& verb, Program& program, std::shared_ptr<Flags> flags,
               int (*action)(const Globals& globals, const Flags& flags)) {
  verb.callback([&program, flags, action] {
    program.chosen = [&program, flags, action] { return action(program.globals, *flags); };
  });
}

void add_topics_verb(CLI::App& parent, Program& program);
void add_list_verb(CLI::App& parent, Program& program);
void add_show_verb(CLI::App& parent, Program& program);
void add_run_verb(CLI::App& parent, Program& program);
void add_groups_verb(CLI::App& parent, Program& program);
void add_plan_verb(CLI::App& parent, Program& program);
void add_resume_verb(CLI::App& parent, Program& program);
void add_jobs_verb(CLI::App& parent, Program& program);
void add_job_verbs(CLI::App& parent, Program& program);   // status, watch, pause, cancel
void add_keep_verbs(CLI::App& parent, Program& program);  // archive, restore, resolve, purge
void add_edit_verb(CLI::App& parent, Program& program);
void add_dedup_verbs(CLI::App& parent, Program& program);  // of `oncemark`
void add_export_verb(CLI::App& parent, Program& program);
void add_import_verb(CLI::App& parent, Program& program);

/// The fields that list and show have in common.
[[nodiscard]] Json letter_json(const dead_letter::Letter& letter);
/// "12 bytes", or "null".
[[nodiscard]] std::string sized(const Bytes& bytes);
/// Headers, key and payload for a person.
void print_record(const Bytes& key, const Bytes& payload, const Headers& headers, std::size_t payload_limit);
[[nodiscard]] Json group_json(const dead_letter::LetterGroup& group);
[[nodiscard]] Json job_json(const dead_letter::ReplayJob& job);

}  // namespace oncemark::tools
