#pragma once

#include <memory>

#include <oncemark/observe/log.hpp>

namespace oncemark {

/// Writes each line to standard error, after the time in UTC:
/// 2026-11-23T09:30:00.000Z warn text key=value.
///
/// Threads: the sink is safe from any thread.
/// Errors:  a line that cannot be written is lost.
[[nodiscard]] std::shared_ptr<LogSink> make_spdlog_sink();

}  // namespace oncemark
