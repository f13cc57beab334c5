#pragma once

#include <filesystem>

#include <oncemark/binlog/capture.hpp>

namespace oncemark::config {

/// Reads what a capture is to do from a file of its own; where database and brokers are stands in the settings.
///
/// Shape:   TOML: name, batch, report_timeout ("10s"), server_id, and a [[tables]] for each table: table, topic, key,
///          changes ("insert", "update", "delete"), columns, where. Named like the fields of CaptureOptions and
///          CapturedTable.
/// Threads: any; reads a file.
/// Errors:  ConfigError with line and column: for a file that cannot be read or is no TOML, an unknown key (with the
///          nearest known one), a value of the wrong type or outside its range, a condition that is none.
[[nodiscard]] binlog::CaptureOptions load_capture(const std::filesystem::path& file);

}  // namespace oncemark::config
