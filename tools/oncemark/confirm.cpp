#include "confirm.hpp"

#include <cctype>
#include <iostream>

#include <oncemark/observe/log.hpp>

#include "output.hpp"
#include "program.hpp"

namespace oncemark::tools {
namespace {

constexpr std::uint64_t kConfirmOver = 1'000;  // things that one "y" may set going

}  // namespace

void require_confirmation(const Question& question) {
  const std::string& name = question.name;
  if (question.confirm) {
    if (*question.confirm == name) return;
    throw RefusedError("--confirm names \"" + printable(*question.confirm, 100) + "\", but the " + question.what_name +
                       " is " + name + "; nothing was done");
  }
  if (question.yes && question.is_narrowed) return;
  const bool must_type = !question.is_narrowed || question.count > kConfirmOver;
  if (!is_terminal(Stream::input) || !is_terminal(Stream::messages)) {
    throw RefusedError(question.doing + " " + question.things +
                       " needs a confirmation, and there is no terminal to ask on; nothing was done\n  try:    " +
                       (question.is_narrowed ? "--yes" : "--confirm=" + name) + ", or --dry-run to see the plan");
  }
  if (must_type) {
    std::cerr << "Type the name of the " << question.what_name << " to " << question.verb << " " << question.things
              << ": " << std::flush;
  } else {
    std::string verb = question.verb;
    verb.front() = static_cast<char>(std::toupper(static_cast<unsigned char>(verb.front())));
    std::cerr << verb << " " << question.things << "? [y/N] " << std::flush;
  }
  std::string answer;
  std::getline(std::cin, answer);
  if (must_type ? answer == name : answer == "y" || answer == "Y" || answer == "yes") return;
  if (!std::cin) std::cerr << '\n';
  throw RefusedError("not confirmed; nothing was done");
}

int say_done(const Globals& globals, const std::string& word, const std::string& things, std::uint64_t selected,
             std::uint64_t done) {
  const int code = done == selected ? kDone : kPartly;
  if (globals.json) {
    print_json({{"event", "summary"}, {"exit_code", code}, {"selected", selected}, {"done", done}});
  } else {
    std::cout << word << ": " << grouped(done) << " of " << things << ".\n";
  }
  return code;
}

}  // namespace oncemark::tools
