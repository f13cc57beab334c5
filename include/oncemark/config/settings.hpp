#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>

#include <oncemark/housekeeping/sweeper.hpp>
#include <oncemark/housekeeping/watchdog.hpp>
#include <oncemark/kafka/settings.hpp>
#include <oncemark/mysql/pool.hpp>
#include <oncemark/outbox/relay.hpp>
#include <oncemark/reconcile/reconciler.hpp>
#include <oncemark/redis/client.hpp>
#include <oncemark/retry/topics.hpp>

namespace oncemark::config {

/// Everything that the programs can be told by a file or by the environment; what is not set keeps its default.
///
/// Shape:   the library's own Options, so that a program passes them on as they are. Keys are SECTION.NAME, named like
///          the fields, except that mysql.pool is the pool's size.
/// Threads: a value.
/// Errors:  none.
struct Settings {
  mysql::PoolOptions mysql = {};
  kafka::ProducerOptions kafka = {};
  redis::ClientOptions redis = {};  // for services that share the file; no program of ours connects to it
  outbox::RelayOptions relay = {};
  retry::TopicNames topics = {};
  housekeeping::SweepOptions retention = {};
  housekeeping::WatchdogOptions watchdog = {};
  reconcile::ReconcileOptions reconcile = {};

  std::string file = {};  // that was read; empty: there was none
  /// Where each key was set: "oncemark.toml line 3, column 1" or "environment variable ONCEMARK_…".
  std::map<std::string, std::string, std::less<>> origins = {};

  /// Where `key` was set, or "default".
  [[nodiscard]] std::string_view origin_of(std::string_view key) const;
};

}  // namespace oncemark::config
