#pragma once

#include <condition_variable>
#include <cstddef>
#include <mutex>

namespace oncemark::consume {

/// Lets workers handle messages side by side, or one of them alone while all others are idle.
///
/// Shape:   who wants to be alone waits for those that are inside, and nobody enters before it has been; it is never
///          starved. Held for one call of the handler, so the wait is as long as the slowest handler takes.
/// Threads: any.
/// Errors:  none.
class Quiet {
 public:
  enum class Company { others, nobody };

  /// Inside, until the end of the scope.
  class Inside {
   public:
    Inside(Quiet& quiet, Company company) : quiet_(quiet), company_(company) { quiet_.enter(company_); }
    ~Inside() { quiet_.leave(company_); }
    Inside(const Inside&) = delete;
    Inside& operator=(const Inside&) = delete;

   private:
    Quiet& quiet_;
    Company company_;
  };

 private:
  void enter(Company company) {
    std::unique_lock lock(mutex_);
    if (company == Company::others) {
      changed_.wait(lock, [this] { return loners_ == 0; });
      ++inside_;
      return;
    }
    ++loners_;
    changed_.wait(lock, [this] { return inside_ == 0; });
    ++inside_;
  }
  void leave(Company company) {
    {
      const std::lock_guard lock(mutex_);
      --inside_;
      if (company == Company::nobody) --loners_;
      if (loners_ == 0 && company == Company::others) return;  // nobody waits
    }
    changed_.notify_all();
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::size_t inside_ = 0;  // guarded by mutex_, like loners_
  std::size_t loners_ = 0;  // alone inside, or waiting for it
};

}  // namespace oncemark::consume
