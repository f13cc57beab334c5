#pragma once

#include "program.hpp"

namespace oncemark::tools {

void add_capture_verbs(CLI::App& parent, Program& program);

}  // namespace oncemark::tools
