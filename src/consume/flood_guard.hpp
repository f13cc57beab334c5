#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <string_view>

#include <oncemark/consume/breaker.hpp>
#include <oncemark/core/loop.hpp>
#include <oncemark/observe/metrics.hpp>

namespace oncemark::consume {

/// The breaker at work: holds the lanes while it is open, and lets one message through now and then.
///
/// Threads: any. `hold` runs on the thread that opens or closes it, `let_one_through` on one of its own.
/// Errors:  none.
class FloodGuard {
 public:
  enum class Probe { succeeded, failed, proved_nothing };

  FloodGuard(const BreakerOptions& options, std::string consumer, Metrics& metrics,
             std::function<void(bool is_open)> hold, std::function<void()> let_one_through);

  /// Handlers took effect; `first_deliveries` of them were no retries.
  void succeeded(std::size_t first_deliveries);
  /// As Breaker::failed().
  [[nodiscard]] bool failed(std::string_view error_class, std::string_view key);
  /// A handler says that what it needs is down, and nothing has succeeded meanwhile.
  void open(std::string_view error_class);
  [[nodiscard]] bool is_open() const noexcept { return is_open_.load(std::memory_order_acquire); }
  [[nodiscard]] bool has_succeeded_since(SteadyTime time) const noexcept;
  void probe_ended(Probe how);
  /// No more probes.
  void stop() { loop_.stop(); }

  [[nodiscard]] std::uint64_t times_opened() const noexcept { return times_opened_.load(std::memory_order_relaxed); }
  [[nodiscard]] std::uint64_t probes() const noexcept { return probes_.load(std::memory_order_relaxed); }

 private:
  std::chrono::milliseconds ask();
  void note_opened();  // call with the lock
  void note_closed(SteadyTime now);

  std::string consumer_;
  Metrics& metrics_;
  std::function<void(bool)> hold_;
  std::function<void()> let_one_through_;
  std::mutex mutex_;  // the breaker and the hold change together
  Breaker breaker_;   // guarded by mutex_
  std::atomic<bool> is_open_{false};
  std::atomic<SteadyTime::rep> last_success_{0};
  std::atomic<std::uint64_t> times_opened_{0};
  std::atomic<std::uint64_t> probes_{0};
  Loop loop_;  // last: it uses what is above
};

}  // namespace oncemark::consume
