#pragma once

#include <cstdint>
#include <iosfwd>
#include <map>
#include <string>
#include <vector>

#include <oncemark/reconcile/digest.hpp>

#include "reconcile/side.hpp"

namespace oncemark::reconcile {

/// What a file of one side holds.
struct DigestFile {
  std::string side = {};      // sent, settled
  std::string consumer = {};  // of the side settled
  Time at{};                  // by the clock of the database it comes from
  Digest digest = {};
  std::map<std::string, std::vector<SideRow>> rows = {};             // by topic: of the buckets that differ
  std::map<std::string, std::vector<std::uint32_t>> differing = {};  // by topic
};

/// Writes lines and counts them, for the last one.
class DigestWriter {
 public:
  DigestWriter(std::ostream& out, const DigestFile& head);
  void bucket(const std::string& topic, std::uint32_t number, const Sum& sum);
  void row(const std::string& topic, const SideRow& row);
  void end();

 private:
  void line(const std::string& text);

  std::ostream& out_;
  std::uint64_t lines_ = 0;
};

/// Throws MisuseError with the line that cannot be read.
[[nodiscard]] DigestFile read_file(std::istream& in);

}  // namespace oncemark::reconcile
