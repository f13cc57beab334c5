#pragma once

#include <string>

#include <oncemark/core/error.hpp>
#include <oncemark/message/ports.hpp>

namespace oncemark::kafka {

/// A failure reported by a broker or by librdkafka.
///
/// Shape:   code is librdkafka's number (negative: local), name its constant without the prefix
///          ("MSG_SIZE_TOO_LARGE", "_ALL_BROKERS_DOWN"). what() ends with the cure where one is known.
class KafkaError final : public Error {
 public:
  KafkaError(ErrorKind kind, int code, std::string name, bool fatal, const std::string& text)
      : Error(kind, text), code_(code), name_(std::move(name)), fatal_(fatal) {}

  [[nodiscard]] int code() const noexcept { return code_; }
  [[nodiscard]] const std::string& name() const noexcept { return name_; }
  /// The client instance is of no more use and must be rebuilt.
  [[nodiscard]] bool is_fatal() const noexcept { return fatal_; }
  [[nodiscard]] std::string error_class() const override { return "kafka." + name_; }

 private:
  int code_;
  std::string name_;
  bool fatal_;
};

/// The kind of a response code: what a caller can do about it.
[[nodiscard]] ErrorKind classify(int code) noexcept;

/// Whether the code speaks about the record that was sent (too large, invalid, not authorised, unknown topic), so
/// that the same record sent alone will be refused again. Outages, time-outs and fatal errors do not.
[[nodiscard]] bool is_about_the_record(int code) noexcept;

/// What a refusal with this code is about; for codes with is_about_the_record().
[[nodiscard]] Refusal refusal_of(int code) noexcept;

/// What to do about a code, as a half-sentence; empty when nothing useful is known.
[[nodiscard]] std::string cure(int code);

}  // namespace oncemark::kafka
