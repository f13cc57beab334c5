#pragma once

#include <string>
#include <unordered_map>
#include <vector>

#include <oncemark/dead_letter/store.hpp>
#include <oncemark/mysql/transaction.hpp>

#include "dead_letter/scan.hpp"

namespace oncemark::dead_letter {

/// Counts by fingerprint what a scan shows.
class Alike {
 public:
  void add(const Seen& seen);
  /// The largest groups, described by their newest letters.
  [[nodiscard]] std::vector<LetterGroup> largest(mysql::Transaction& tx, std::size_t limit) const;

 private:
  struct One {
    LetterGroup group;
    std::uint64_t newest = 0;
  };
  std::unordered_map<std::string, One> groups_;
};

}  // namespace oncemark::dead_letter
