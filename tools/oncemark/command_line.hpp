#pragma once

namespace oncemark::tools {

/// Parses the command line and does what it says; the exit code. What was done wrong in it is thrown as UsageError.
[[nodiscard]] int run_command_line(int argc, char** argv);

}  // namespace oncemark::tools
