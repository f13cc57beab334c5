#pragma once

#include <mutex>
#include <string_view>

namespace oncemark::tools {

/// Makes the library's log lines read like messages of a command: "warning: …" on standard error, only warnings and
/// errors, and never in the middle of a progress line.
void log_as_messages();

/// One message on standard error, on a line of its own.
void say(std::string_view text);
/// Rewrites the progress line, which say() clears first and a following call draws anew. Empty: clears it.
void show_progress(std::string_view line);

}  // namespace oncemark::tools
