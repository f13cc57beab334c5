#pragma once

#include <sys/resource.h>

#include <chrono>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>
#include <oncemark/consume/runner.hpp>
#include <oncemark/inbox/dedup.hpp>
#include <oncemark/message/message.hpp>
#include <oncemark/mysql/deferred.hpp>
#include <oncemark/mysql/migration.hpp>
#include <oncemark/mysql/pool.hpp>
#include <oncemark/mysql/row_values.hpp>
#include <oncemark/mysql/transaction.hpp>

#include "contract.hpp"
#include "options.hpp"

/// What the programs that consume through the library have in common.
namespace bench {

/// User and system time of this process.
[[nodiscard]] inline double cpu_seconds() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

/// Where our tables are; they are made if need be.
[[nodiscard]] inline oncemark::mysql::PoolOptions our_tables(const Contract& contract, std::size_t workers) {
  oncemark::mysql::PoolOptions options{.url = contract.database_url,
                                       .user = contract.user,
                                       .password = contract.password,
                                       .schema = contract.business,
                                       .size = workers + 8};  // drivers of parked messages, and the relay
  oncemark::mysql::Pool(options).acquire()->control("CREATE DATABASE IF NOT EXISTS " + contract.ours);
  options.schema = contract.ours;
  return options;
}

/// As the contract allows: the process is warm, and its connections are made, before the clock starts.
inline void warm(oncemark::mysql::Pool& pool, std::size_t connections) {
  (void)oncemark::mysql::apply_migrations(pool);
  std::vector<oncemark::mysql::Pool::Lease> leases;
  for (std::size_t i = 0; i < connections; ++i) leases.push_back(pool.acquire());
}

[[nodiscard]] inline oncemark::consume::RunnerOptions runner_options(const RunOptions& options) {
  return {.workers = options.workers,
          .max_group = options.max_group,
          .min_group = options.is_fixed ? options.max_group : std::size_t{1}};
}

[[nodiscard]] inline oncemark::inbox::DedupOptions dedup_options(const Contract& contract) {
  return {.consumer = contract.group,
          .effects = oncemark::Effects::transaction,
          .key_from = oncemark::inbox::KeyFrom::header("message-id")};
}

/// What a message says of its account.
struct Deposit {
  std::int64_t account = 0;
  std::int64_t amount = 0;
};

[[nodiscard]] inline Deposit read_deposit(const oncemark::Message& message) {
  const auto body = nlohmann::json::parse(message.payload.view());
  return {.account = body.at("accountId").get<std::int64_t>(), .amount = body.at("amount").get<std::int64_t>()};
}

/// What every workload does: the account's balance and version, and a row of the ledger.
class Accounts {
 public:
  explicit Accounts(const std::string& database)
      : update_("UPDATE " + database + ".account SET balance = balance + ?, version = version + 1 WHERE id = ?"),
        update_all_("UPDATE " + database +
                    ".account AS a JOIN {rows} AS v ON a.id = v.id SET a.balance = a.balance + v.amount, a.version = "
                    "a.version + v.messages"),
        insert_all_("INSERT INTO " + database + ".ledger (message_id, account_id, amount)"),
        insert_(insert_all_ + " VALUES (?, ?, ?)"),
        deferred_update_(oncemark::mysql::DeferredStatement::update(update_all_, {"id", "amount", "messages"}, 1)),
        deferred_insert_(oncemark::mysql::DeferredStatement::insert(insert_all_)) {}

  void update(oncemark::mysql::Transaction& tx, const Deposit& deposit) const {
    tx.execute(update_, deposit.amount, deposit.account);
  }
  void insert(oncemark::mysql::Transaction& tx, const std::string& id, const Deposit& deposit) const {
    tx.execute(insert_, id, deposit.account, deposit.amount);
  }
  void defer_update(oncemark::mysql::Transaction& tx, const Deposit& deposit) const {
    tx.defer(deferred_update_, deposit.account, deposit.amount, 1);
  }
  void defer_insert(oncemark::mysql::Transaction& tx, const std::string& id, const Deposit& deposit) const {
    tx.defer(deferred_insert_, id, deposit.account, deposit.amount);
  }
  /// account, amount, number of messages: one row each; the rows of one account are added up.
  void update_all(oncemark::mysql::Transaction& tx, const oncemark::mysql::RowValues& deposits) const {
    tx.update_rows(update_all_, {"id", "amount", "messages"}, deposits.summed(1));
  }
  /// message id, account, amount
  void insert_all(oncemark::mysql::Transaction& tx, const oncemark::mysql::RowValues& rows) const {
    tx.insert_rows(insert_all_, rows);
  }

 private:
  std::string update_;
  std::string update_all_;
  std::string insert_all_;
  std::string insert_;
  oncemark::mysql::DeferredStatement deferred_update_;
  oncemark::mysql::DeferredStatement deferred_insert_;
};

}  // namespace bench
