#pragma once

#include <CLI/CLI.hpp>

#include "program.hpp"

namespace oncemark::tools {

/// list, retry and skip: rows of the outbox that the broker refused.
void add_stuck_verbs(CLI::App& parent, Program& program);

}  // namespace oncemark::tools
