#include <oncemark/inbox/redis_hint.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <charconv>
#include <deque>
#include <mutex>
#include <utility>

#include <oncemark/core/clock.hpp>
#include <oncemark/core/error.hpp>
#include <oncemark/core/faults.hpp>
#include <oncemark/core/id.hpp>
#include <oncemark/core/loop.hpp>
#include <oncemark/observe/log.hpp>
#include <oncemark/observe/metric_names.hpp>
#include <oncemark/redis/errors.hpp>

#include "inbox/epoch_watch.hpp"
#include "inbox/hint_breaker.hpp"

namespace oncemark::inbox {
namespace {

using namespace std::chrono_literals;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr std::size_t kBatch = 256;         // SETs in one pipeline
constexpr auto kBetweenRefusalLogs = 1min;  // a full Redis refuses every write
constexpr const char* kProbeKey = "om:probe";

[[noreturn]] void reject(const std::string& field, const std::string& value, std::string_view rule) {
  throw ConfigError("RedisHintOptions::" + field,
                    "RedisHintOptions::" + field + " is " + value + "; it must be " + std::string(rule));
}

/// "om:00f3…:shipping:" and then the business key as it is. A consumer's name has no colon.
std::string key_prefix(std::uint64_t epoch, std::string_view consumer) {
  std::array<char, 16> digits;
  const auto [end, error] = std::to_chars(digits.data(), digits.data() + digits.size(), epoch, 16);
  const auto length = static_cast<std::size_t>(end - digits.data());
  std::string prefix = "om:" + std::string(digits.size() - length, '0');
  prefix.append(digits.data(), length).append(":").append(consumer).append(":");
  return prefix;
}

std::string key_of(const std::string& prefix, std::string_view business_key) {
  std::string key;
  key.reserve(prefix.size() + business_key.size());
  return key.append(prefix).append(business_key);
}

}  // namespace

void RedisHintOptions::validate() const {
  redis.validate();
  if (ttl < 1s || ttl > std::chrono::days(365))
    reject("ttl", std::to_string(ttl.count()) + " s", "from 1 s to 365 days");
  if (max_queued < 1 || max_queued > 10'000'000) reject("max_queued", std::to_string(max_queued), "from 1 to 10000000");
  if (epoch_interval < 10ms || epoch_interval > 1h) {
    reject("epoch_interval", std::to_string(epoch_interval.count()) + " ms", "from 10 ms to 1 h");
  }
  if (failures < 1 || failures > 1'000) reject("failures", std::to_string(failures), "from 1 to 1000");
  away.validate();
}

class RedisHint::Engine {
 public:
  Engine(mysql::Pool& pool, RedisHintOptions options, Metrics& metrics)
      : options_(std::move(options)),
        metrics_(metrics),
        watch_(pool, options_.epoch_interval),
        client_(options_.redis),
        breaker_(options_.failures, options_.away),
        loop_([this](const std::stop_token& stop) { return round(stop); }) {}

  ~Engine() {
    loop_.stop();
    write_queued({});
  }

  std::uint64_t epoch() const noexcept { return watch_.epoch(); }

  std::vector<bool> seen(const std::string& consumer, std::span<const SeenMark> marks) {
    const std::uint64_t now = epoch();
    if (now == 0 || marks.empty() || !breaker_.is_closed()) return {};
    const std::string prefix = key_prefix(now, consumer);
    redis::Command command{"MGET"};
    command.reserve(marks.size() + 1);
    for (const SeenMark& mark : marks) command.push_back(key_of(prefix, mark.business_key));
    std::vector<bool> hits(marks.size());
    if (!attempt("look_up", [&] {
          const redis::Reply reply = client_.command(command);
          if (reply.items.size() != marks.size()) {
            throw redis::RedisError(ErrorKind::transient, "protocol",
                                    "MGET on redis " + options_.redis.url + ": not one answer for each key");
          }
          for (std::size_t i = 0; i < marks.size(); ++i) {
            hits[i] = reply.items[i].text == std::to_string(marks[i].payload_hash);
          }
        })) {
      return {};
    }
    looked_up_.fetch_add(marks.size(), std::memory_order_relaxed);
    return hits;
  }

  void remember(const std::string& consumer, std::uint64_t epoch, std::span<const SeenMark> marks) {
    if (marks.empty()) return;
    if (epoch == 0 || !breaker_.is_closed()) return drop(marks.size());
    const std::string prefix = key_prefix(epoch, consumer);
    std::size_t taken = 0;
    {
      const std::lock_guard lock(mutex_);
      for (; taken < marks.size() && queue_.size() < options_.max_queued; ++taken) {
        queue_.push_back({key_of(prefix, marks[taken].business_key), std::to_string(marks[taken].payload_hash)});
      }
    }
    loop_.nudge();
    drop(marks.size() - taken);
  }

  RedisHintCounts counts() const noexcept {
    const auto read = [](const std::atomic<std::uint64_t>& counter) { return counter.load(std::memory_order_relaxed); };
    return {.looked_up = read(looked_up_),
            .written = read(written_),
            .dropped = read(dropped_),
            .errors = read(errors_),
            .openings = read(openings_),
            .is_away = !breaker_.is_closed()};
  }

 private:
  struct Waiting {
    std::string key;
    std::string value;
  };

  // ---- In the background -----------------------------------------------------------------------------------------

  /// One round of the background thread; returns how long to wait for the next unless something is to be written.
  milliseconds round(const std::stop_token& stop) {
    SteadyTime next = watch_.read_if_due();
    probe_if_due();
    write_queued(stop);
    if (const auto probe = breaker_.probe_at()) next = std::min(next, *probe);
    return std::max(std::chrono::ceil<milliseconds>(next - steady_clock::now()), 1ms);
  }

  void probe_if_due() {
    const auto due = breaker_.probe_at();
    if (!due || steady_clock::now() < *due) return;
    bool has_answered = true;
    try {
      (void)client_.command({"MGET", kProbeKey});
    } catch (const std::exception&) {
      has_answered = false;
    }
    breaker_.probed(has_answered, steady_clock::now(), random_token());
    if (!has_answered) return;
    log(LogLevel::info, "Redis answers again; the hint is back", {{"redis", options_.redis.url}});
    metrics_.gauge(metric::kHintAway, {}, 0);
  }

  void write_queued(const std::stop_token& stop) {
    std::vector<redis::Command> commands;
    while (!stop.stop_requested()) {
      commands.clear();
      {
        const std::lock_guard lock(mutex_);
        while (!queue_.empty() && commands.size() < kBatch) {
          commands.push_back({"SET", std::move(queue_.front().key), std::move(queue_.front().value), "EX", ttl_});
          queue_.pop_front();
        }
      }
      if (commands.empty()) return;
      if (breaker_.is_closed()) {
        write(commands);
      } else {
        drop(commands.size());
      }
    }
  }

  void write(const std::vector<redis::Command>& commands) {
    std::vector<redis::Reply> replies;
    if (!attempt("write", [&] {
          ONCEMARK_FAIL_POINT("hint.before_write");
          replies = client_.pipeline(commands);
        })) {
      return drop(commands.size());
    }
    std::size_t refused = 0;
    for (const redis::Reply& reply : replies) {
      if (reply.kind != redis::Reply::Kind::error) continue;
      if (refused++ == 0) note_refusal(reply.text);
    }
    written_.fetch_add(replies.size() - refused, std::memory_order_relaxed);
    metrics_.count(metric::kHintWritten, {}, static_cast<double>(replies.size() - refused));
    drop(refused);
  }

  /// Reads go on working when writes are refused (no memory, no right): nothing to take Redis out of the way for.
  void note_refusal(const std::string& text) {
    note_error("write");
    const auto now = steady_clock::now();
    if (now < next_refusal_log_) return;
    next_refusal_log_ = now + kBetweenRefusalLogs;
    const std::string_view advice = redis::cure(std::string_view(text).substr(0, text.find(' ')));
    log(LogLevel::warn, "Redis refuses to store hints",
        {{"redis", options_.redis.url}, {"text", text}, {"cure", std::string(advice)}});
  }

  // ---- Anywhere --------------------------------------------------------------------------------------------------

  template <typename Work>
  bool attempt(const char* operation, Work&& work) {
    try {
      work();
      breaker_.succeeded();
      return true;
    } catch (const std::exception&) {
      const ErrorSummary error = summarize_current_exception();
      note_error(operation);
      if (const auto away = breaker_.failed(steady_clock::now(), random_token())) {
        openings_.fetch_add(1, std::memory_order_relaxed);
        metrics_.gauge(metric::kHintAway, {}, 1);
        log(LogLevel::warn, "Redis is taken out of the way; messages are claimed without it",
            {{"error", error.error_class}, {"text", error.text}, {"for_ms", away->count()}});
        loop_.nudge();  // it has to know when to try again
      }
      return false;
    }
  }

  void note_error(const char* operation) {
    errors_.fetch_add(1, std::memory_order_relaxed);
    metrics_.count(metric::kHintErrors, {{"operation", operation}}, 1);
  }

  void drop(std::size_t marks) {
    if (marks == 0) return;
    dropped_.fetch_add(marks, std::memory_order_relaxed);
    metrics_.count(metric::kHintDropped, {}, static_cast<double>(marks));
  }

  const RedisHintOptions options_;
  const std::string ttl_ = std::to_string(options_.ttl.count());
  Metrics& metrics_;
  EpochWatch watch_;
  redis::Client client_;
  HintBreaker breaker_;

  std::atomic<std::uint64_t> looked_up_{0};
  std::atomic<std::uint64_t> written_{0};
  std::atomic<std::uint64_t> dropped_{0};
  std::atomic<std::uint64_t> errors_{0};
  std::atomic<std::uint64_t> openings_{0};

  std::mutex mutex_;
  std::deque<Waiting> queue_;  // guarded by mutex_

  // Of the background thread.
  SteadyTime next_refusal_log_{};

  Loop loop_;  // last: it uses everything above
};

RedisHint::RedisHint(mysql::Pool& pool, RedisHintOptions options, Metrics& metrics) {
  options.validate();
  engine_ = std::make_unique<Engine>(pool, std::move(options), metrics);
}

RedisHint::~RedisHint() = default;

std::uint64_t RedisHint::epoch() const noexcept { return engine_->epoch(); }

std::vector<bool> RedisHint::seen(const std::string& consumer, std::span<const SeenMark> marks) noexcept {
  return engine_->seen(consumer, marks);
}

void RedisHint::remember(const std::string& consumer, std::uint64_t epoch, std::span<const SeenMark> marks) noexcept {
  engine_->remember(consumer, epoch, marks);
}

RedisHintCounts RedisHint::counts() const noexcept { return engine_->counts(); }

}  // namespace oncemark::inbox
