// oncemark: the operators' program. Called by the name dlq-replay it is `oncemark dlq`, as outbox-relay it is
// `oncemark relay`, and as reconcile `oncemark reconcile`.
#include "command_line.hpp"
#include "program.hpp"

int main(int argc, char** argv) {
  try {
    return oncemark::tools::run_command_line(argc, argv);
  } catch (...) {
    return oncemark::tools::report_current_exception();
  }
}
