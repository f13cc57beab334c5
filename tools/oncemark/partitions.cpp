#include <algorithm>
#include <iostream>
#include <memory>

#include <oncemark/core/error.hpp>
#include <oncemark/housekeeping/partitions.hpp>
#include <oncemark/mysql/migration.hpp>

#include "messages.hpp"
#include "output.hpp"
#include "program.hpp"

namespace oncemark::tools {
namespace {

using housekeeping::Partition;
using housekeeping::Rotation;

struct PartitionFlags {
  int width_hours = 24;
  int ahead = 7;

  void add_to(CLI::App& verb) {
    verb.add_option("--hours", width_hours, "time of one partition (default: 24)")->type_name("N");
    verb.add_option("--ahead", ahead, "partitions made before their time has come (default: 7)")->type_name("N");
  }
  [[nodiscard]] housekeeping::PartitionOptions options(const config::Settings& settings) const {
    housekeeping::PartitionOptions options{
        .marks = settings.retention.marks, .width = std::chrono::hours(width_hours), .ahead = ahead};
    options.validate();
    return options;
  }
};

int print_partitions(const Globals& globals, const PartitionFlags& flags) {
  const config::Settings settings = globals.settings();
  const std::string sql = housekeeping::partition_statement(flags.options(settings), SystemClock().now());
  if (globals.json) {
    print_json({{"sql", sql}});
  } else {
    std::cout << "-- Copies the whole table while claims wait: run it while the table is small, or with a tool for\n"
                 "-- online schema changes. Only for message keys that are time-ordered ids (UUID version 7).\n"
              << sql << ";\n";
  }
  return kDone;
}

int rotate(const Globals& globals, const PartitionFlags& flags) {
  const config::Settings settings = globals.settings();
  const auto options = flags.options(settings);
  const auto pool = open_pool(settings);
  Rotation rotation;
  first_contact(settings, [&] {
    mysql::require_schema(*pool);
    rotation = housekeeping::rotate_partitions(*pool, options);
  });
  if (globals.json) {
    Json kept = Json::array();
    for (const Rotation::Kept& one : rotation.kept) kept.push_back({{"partition", one.partition}, {"why", one.why}});
    print_json({{"dropped", rotation.dropped}, {"kept", kept}, {"added", rotation.added}});
  } else {
    for (const std::string& name : rotation.dropped) std::cout << "Dropped " << name << ".\n";
    for (const Rotation::Kept& one : rotation.kept) std::cout << "Kept " << one.partition << ": " << one.why << ".\n";
    for (const std::string& name : rotation.added) std::cout << "Added " << name << ".\n";
    if (rotation.dropped.empty() && rotation.added.empty()) std::cout << "Nothing to drop, nothing to add.\n";
  }
  return rotation.kept.empty() ? kDone : kPartly;
}

int show_partitions(const Globals& globals) {
  const config::Settings settings = globals.settings();
  const auto pool = open_pool(settings);
  std::vector<Partition> found;
  first_contact(settings, [&] { found = housekeeping::partitions(*pool); });
  Table table({{"PARTITION"}, {"KEYS MADE BEFORE (UTC)"}, {"ROWS, ABOUT", Table::Align::right}});
  for (const Partition& partition : found) {
    if (globals.json) {
      print_json({{"partition", partition.name},
                  {"before", partition.before ? to_json(*partition.before) : Json()},
                  {"rows", partition.rows}});
    }
    table.add({partition.name, partition.before ? short_time(*partition.before) : "–", grouped(partition.rows)});
  }
  if (!globals.json) std::cout << table.str();
  if (found.empty()) say("consumed_message has no partitions by time; see oncemark partitions print");
  return kDone;
}

}  // namespace

void add_partitions_verbs(CLI::App& parent, Program& program) {
  const auto add = [&](const char* name, const char* description, const char* examples,
                       int (*action)(const Globals&, const PartitionFlags&)) {
    CLI::App& verb = add_verb(parent, name, description, examples);
    auto flags = std::make_shared<PartitionFlags>();
    flags->add_to(verb);
    verb.callback([&program, flags, action] {
      program.chosen = [&program, flags, action] {
        log_as_messages();
        return action(program.globals, *flags);
      };
    });
  };
  add("print", "print the statement that partitions consumed_message by the time of its keys; needs no database",
      "  oncemark partitions print", print_partitions);
  add("rotate", "drop the partitions that are old, make those of the days to come; exit code 3 when old ones must stay",
      "  oncemark partitions rotate          # once a day", rotate);
  add_verb(parent, "list", "the partitions there are", "  oncemark partitions list").callback([&program] {
    program.chosen = [&program] {
      log_as_messages();
      return show_partitions(program.globals);
    };
  });
}

}  // namespace oncemark::tools
