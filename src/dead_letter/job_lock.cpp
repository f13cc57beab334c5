#include "dead_letter/job_lock.hpp"

#include <array>
#include <cstdio>

#include <oncemark/core/error.hpp>
#include <oncemark/message/codec.hpp>
#include <oncemark/mysql/errors.hpp>

namespace oncemark::dead_letter {
namespace {

using std::chrono::steady_clock;

constexpr std::chrono::seconds kIdleLimit{60};  // the server drops a connection that was silent for longer
constexpr std::chrono::seconds kPingEvery{1};
constexpr std::chrono::seconds kRetakeWait{2};  // our own lost connection may hold it a moment longer

}  // namespace

std::string job_lock_name(const mysql::Pool& pool, const std::string& consumer) {
  // Hashed, because MySQL takes 64 characters and schema and consumer may have more together.
  const std::uint64_t hash = payload_hash(Bytes(pool.options().schema + '\0' + consumer));
  std::array<char, 40> name{};
  std::snprintf(name.data(), name.size(), "oncemark.replay.%016llx", static_cast<unsigned long long>(hash));
  return name.data();
}

JobLock::JobLock(mysql::Pool& pool, const std::string& consumer) : pool_(pool), name_(job_lock_name(pool, consumer)) {}

bool JobLock::take(std::chrono::seconds wait) {
  connection_ = pool_.connect(kIdleLimit);
  const std::array<mysql::Param, 2> params{mysql::Param(name_), mysql::Param(wait.count())};
  const auto answer = connection_->query("SELECT GET_LOCK(?, ?)", params).at(0).get<std::optional<int>>(0);
  heard_at_ = steady_clock::now();
  if (answer == 1) return true;
  connection_.reset();
  if (!answer) throw UnavailableError("the server could not say whether another replay of this consumer runs");
  return false;
}

bool JobLock::keep() {
  if (connection_ && steady_clock::now() - heard_at_ < kPingEvery) return true;
  if (connection_ && connection_->ping()) {
    heard_at_ = steady_clock::now();
    return true;
  }
  return take(kRetakeWait);
}

}  // namespace oncemark::dead_letter
