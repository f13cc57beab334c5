#pragma once

#include <string>

#include <oncemark/core/error.hpp>

namespace oncemark::binlog {

/// What is wrong with the stream, or with what came out of it.
enum class Trouble {
  malformed,    ///< bytes that are no event: a broken file, a broken line, or a defect of ours
  unsupported,  ///< an event or a value that this library cannot read, or a server that does not log what is needed
  purged,       ///< the server no longer has what comes after the position, or never had it
};

/// Why the binlog cannot be read on from here. It is never skipped over in silence.
///
/// Shape:   kind permanent: the same bytes will be refused again. what() names the event, the table and the cure.
/// Threads: a value.
/// Errors:  –
class BinlogError final : public Error {
 public:
  BinlogError(Trouble trouble, const std::string& text) : Error(ErrorKind::permanent, text), trouble_(trouble) {}

  [[nodiscard]] Trouble trouble() const noexcept { return trouble_; }
  [[nodiscard]] std::string error_class() const override {
    switch (trouble_) {
      case Trouble::malformed:
        return "binlog.malformed";
      case Trouble::unsupported:
        return "binlog.unsupported";
      default:
        return "binlog.purged";
    }
  }

 private:
  Trouble trouble_;
};

}  // namespace oncemark::binlog
