#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace oncemark::tools {

struct Globals;

/// What a person is asked before something is done that cannot be undone by repeating it.
struct Question {
  std::string verb;                         // "replay"
  std::string doing;                        // "replaying"
  std::string things;                       // "12 letters"
  std::string name;                         // of what it is done to: a consumer, a topic
  std::string what_name;                    // "consumer"
  bool is_narrowed = false;                 // something besides the name selects
  std::uint64_t count = 0;                  // over 1,000 the name has to be typed
  bool yes = false;                         // --yes
  std::optional<std::string> confirm = {};  // --confirm
};

/// Returns when it may be done. Throws RefusedError when it may not: a wrong name, no terminal to ask on, or a no.
void require_confirmation(const Question& question);

/// The last line of what was done by hand ("Done: 3 of 4 messages."), and the program's exit code.
[[nodiscard]] int say_done(const Globals& globals, const std::string& word, const std::string& things,
                           std::uint64_t selected, std::uint64_t done);

}  // namespace oncemark::tools
