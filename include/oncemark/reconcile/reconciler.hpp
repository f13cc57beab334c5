#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <functional>
#include <stop_token>
#include <string>
#include <vector>

#include <oncemark/mysql/pool.hpp>
#include <oncemark/observe/metrics.hpp>
#include <oncemark/reconcile/digest.hpp>
#include <oncemark/reconcile/finding.hpp>

namespace oncemark::reconcile {

/// A consumer, and a topic whose messages it has to handle.
struct Pair {
  std::string consumer = {};
  std::string topic = {};

  bool operator==(const Pair&) const = default;
};

struct ReconcileOptions {
  std::vector<std::string> consumers = {};  // only these · empty: all that have a state row here
  std::vector<std::string> topics = {};     // only these · empty: all
  std::vector<Pair> pairs = {};             // compared even when one side has nothing at all: without them a consumer
                                            // that has never handled a message cannot be told from one elsewhere
  std::vector<Kind> kinds = {};             // only these · empty: all
  std::chrono::seconds sla =
      std::chrono::minutes(15);  // after which a message should have been settled · shorter finds
                                 // losses sooner, and slow ones too · 1 s to 30 days
  std::chrono::seconds span =
      std::chrono::hours(24 * 7);          // how far back · at most what marks and sent rows are kept for,
                                           // see docs/retention.md · above sla, at most 1 year
  Contents contents = Contents::compared;  // ignored: for consumers that hash only some fields (conflict_fields)
  std::uint64_t most = 100'000;  // differences that are named; of more only the number is known · 1 to 1,000,000
  std::chrono::seconds interval = std::chrono::hours(1);  // between two rounds of run() · 10 s to 7 days

  /// Throws ConfigError naming the field.
  void validate() const;
};

/// A comparison of what was sent to a topic with what a consumer has settled.
struct Compared {
  Pair pair = {};  // no consumer: nobody here has handled a message of the topic
  std::uint64_t sent = 0;
  std::uint64_t settled = 0;
  std::uint32_t buckets = 0;
  std::uint32_t differing = 0;
  bool is_compared = true;  // false: one side lies in another database, as it seems
};

struct Report {
  Grid grid = {};
  Time at{};  // by the database's clock
  std::vector<Compared> compared = {};
  std::array<std::uint64_t, kKinds> found = {};
  std::uint64_t waived = 0;  // differences that a person has accepted: neither counted in `found` nor visited
  bool is_cut = false;       // more than `most`

  [[nodiscard]] std::uint64_t total() const noexcept;
  [[nodiscard]] std::uint64_t count(Kind kind) const noexcept { return found[static_cast<std::size_t>(kind)]; }
};

/// Compares what was sent with what was done, and says which messages differ.
///
/// Shape:   both tables are added up into buckets of event time by one read each, at the same time, on the server; only
///          buckets that differ are looked into, and every difference is confirmed by reading both rows again, so that
///          what moves meanwhile raises no alarm. What is unsent, waiting, parked or dead is found by its own tables.
///          Compared are distinct business keys (the message id where there is none) of rows that are older than the
///          SLA and younger than what has been purged. Writes nothing.
/// Threads: one thread at a time; uses two connections of the pool and one thread of its own.
/// Errors:  the constructor throws ConfigError. look() throws MysqlError, Error{unavailable} when stopped, and what
///          `visit` throws. run() logs failures and goes on.
/// Source:  design, section 8; docs/reconcile.md.
class Reconciler final {
 public:
  using Visit = std::function<void(const Finding&)>;

  explicit Reconciler(mysql::Pool& pool, ReconcileOptions options = {}, Metrics& metrics = Metrics::none());

  /// One comparison. `visit` gets each difference once, at most options.most of them.
  Report look(const Visit& visit, std::stop_token stop = {});
  /// Comparisons until stopped: differences go to the metrics and, at most a few of them, to the log.
  void run(std::stop_token stop);

 private:
  mysql::Pool& pool_;
  ReconcileOptions options_;
  Metrics& metrics_;
};

}  // namespace oncemark::reconcile
