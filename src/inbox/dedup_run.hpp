#pragma once

#include <chrono>
#include <cstddef>
#include <exception>
#include <vector>

#include <oncemark/inbox/dedup.hpp>

#include "inbox/hint_use.hpp"

namespace oncemark::inbox {

/// What happened to each of a group, in one run of its effects.
struct Dedup::Run {
  explicit Run(std::size_t messages) : failures(messages), took(messages), is_left(messages) {}

  std::vector<std::exception_ptr> failures;
  std::vector<std::chrono::nanoseconds> took;
  std::vector<bool> is_left;        // not run: an earlier one of its key failed, and it must not overtake that
  std::vector<std::size_t> undone;  // their claims are given back
};

struct Dedup::Look : HintUse::Look {};

}  // namespace oncemark::inbox
