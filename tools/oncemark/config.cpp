// oncemark config: what the programs were told, and by whom.
#include <iostream>

#include <oncemark/config/load.hpp>
#include <oncemark/observe/log.hpp>

#include "messages.hpp"
#include "output.hpp"
#include "program.hpp"

namespace oncemark::tools {
namespace {

int show_config(const Globals& globals, bool set_only) {
  log_as_messages();
  const config::Settings settings = globals.settings();
  std::string section;
  std::vector<config::Shown> shown = config::show(settings);
  if (set_only) std::erase_if(shown, [](const config::Shown& one) { return one.origin == "default"; });
  for (const config::Shown& one : shown) {
    if (globals.json) {
      print_json({{"key", one.key}, {"value", one.value}, {"origin", one.origin}});
      continue;
    }
    const std::string of = one.key.substr(0, one.key.find('.'));
    if (of != section) std::cout << (section.empty() ? "[" : "\n[") << of << "]\n";
    section = of;
    const std::string line = one.key.substr(of.size() + 1) + " = " + printable(one.value, 4'096);
    std::cout << line << std::string(line.size() < 48 ? 48 - line.size() : 1, ' ') << "# " << printable(one.origin)
              << '\n';
  }
  if (settings.file.empty()) say("No configuration file was found: `oncemark --help` says where it is looked for.");
  return kDone;
}

}  // namespace

void add_config_verbs(CLI::App& parent, Program& program) {
  CLI::App& show =
      add_verb(parent, "show", "every setting with its value and where that comes from; secrets masked",
               "  oncemark config show\n"
               "  oncemark config show --set\n"
               "  oncemark config show --json | jq -r 'select(.origin != \"default\") | .key'\n"
               "\nWhat is printed can be put into a file. An unknown key, or a value that cannot be, is an\n"
               "error with its line: exit code 2.");
  auto set_only = std::make_shared<bool>(false);
  show.add_flag("--set", *set_only, "only what differs from the defaults");
  show.callback([&program, set_only] {
    program.chosen = [&program, set_only] { return show_config(program.globals, *set_only); };
  });
}

}  // namespace oncemark::tools
