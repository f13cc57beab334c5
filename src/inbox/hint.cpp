#include <oncemark/inbox/hint.hpp>

#include <oncemark/core/error.hpp>

namespace oncemark::inbox {

void HintOptions::validate() const {
  if (ask_above >= 0 && ask_above <= 1) return;
  throw ConfigError("HintOptions::ask_above",
                    "HintOptions::ask_above is " + std::to_string(ask_above) + "; it must be from 0 to 1");
}

}  // namespace oncemark::inbox
