// What the database gives: the statements of w1, in groups, without Kafka and without the library.
//
// Before the clock starts, the library's claim and the workload's effect run against a recorder, group by group, and
// every statement with its values is kept. Then threads with a connection each send them, through the client library
// that oncemark uses. So it is the same SQL in the same order by construction. Keys are spread over the threads, and
// every group is full.
#include <atomic>
#include <chrono>
#include <cstdio>
#include <exception>
#include <functional>
#include <iostream>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include <cppconn/exception.h>
#include <cppconn/prepared_statement.h>

#include <oncemark/core/clock.hpp>
#include <oncemark/ledger/claim.hpp>
#include <oncemark/mysql/session.hpp>
#include <oncemark/mysql/transaction.hpp>
#include <oncemark/testing/recording_session.hpp>

#include "consumer.hpp"
#include "server.hpp"
#include "workload.hpp"

namespace om = oncemark;

namespace bench {
namespace {

using Sent = om::testing::RecordingSession::Sent;
using Value = om::testing::RecordingSession::Value;
using Statements = std::vector<Sent>;  // of one transaction, START TRANSACTION and COMMIT included

/// Answers claims as a database would that has done `done` before, and remembers what it was sent.
class Recorder final : public om::mysql::Session {
 public:
  explicit Recorder(std::unordered_set<std::string>& done) : done_(done) {}

  std::uint64_t execute(std::string_view sql, std::span<const om::mysql::Param> params) override {
    (void)log_.execute(sql, params);
    if (!sql.starts_with("INSERT INTO consumed_message")) return 1;
    constexpr std::size_t kValues = 11;  // of a row; the key is the second, the token the fifth
    std::uint64_t fresh = 0;
    for (std::size_t i = 0; i < params.size(); i += kValues) {
      if (!done_.insert(std::string(std::get<std::string_view>(params[i + 1].value()))).second) continue;
      ours_.emplace(std::get<std::string_view>(params[i + 1].value()), std::get<std::uint64_t>(params[i + 4].value()));
      ++fresh;
    }
    return fresh;
  }
  om::mysql::Rows query(std::string_view sql, std::span<const om::mysql::Param> params) override {
    (void)log_.query(sql, params);
    std::vector<std::vector<om::mysql::Row::Value>> rows;
    for (const om::mysql::Param& param : params.subspan(1)) {
      std::string key(std::get<std::string_view>(param.value()));
      const auto own = ours_.find(key);
      const std::uint64_t token = own == ours_.end() ? 0 : own->second;
      rows.push_back(
          {std::move(key), token, std::string("done"), std::uint64_t{1}, std::uint64_t{0}, std::uint64_t{0}});
    }
    return om::testing::rows({"message_key", "token", "state", "life", "attempt", "payload_hash"}, rows);
  }
  void control(std::string_view sql) override { log_.control(sql); }

  [[nodiscard]] Statements take() {
    ours_.clear();
    Statements sent = log_.sent();
    log_ = {};
    return sent;
  }

 private:
  std::unordered_set<std::string>& done_;
  std::unordered_map<std::string, std::uint64_t> ours_;  // claimed in this transaction, with its token
  om::testing::RecordingSession log_;
};

Statements record(Recorder& recorder, const Contract& contract, const Accounts& accounts, const RunOptions& options,
                  const std::vector<om::Message>& group) {
  std::vector<const om::Message*> pointers;
  for (const om::Message& message : group) pointers.push_back(&message);
  om::mysql::UnitOfWork unit(recorder);
  const auto claims = om::ledger::claim_group(unit.tx(), contract.group, pointers);
  om::mysql::RowValues deposits;
  om::mysql::RowValues rows;
  for (std::size_t i = 0; i < group.size(); ++i) {
    if (!claims[i].is_fresh) continue;
    const Deposit deposit = read_deposit(group[i]);
    if (options.deferred) {
      accounts.defer_update(unit.tx(), deposit);
      accounts.defer_insert(unit.tx(), group[i].business_key, deposit);
    } else if (options.batch) {
      deposits.add(deposit.account, deposit.amount, 1);
      rows.add(group[i].business_key, deposit.account, deposit.amount);
    } else {
      accounts.update(unit.tx(), deposit);
      accounts.insert(unit.tx(), group[i].business_key, deposit);
    }
  }
  if (options.batch) {
    accounts.update_all(unit.tx(), deposits);
    accounts.insert_all(unit.tx(), rows);
  }
  unit.commit();
  return recorder.take();
}

/// For each thread its transactions.
std::vector<std::vector<Statements>> record_all(const Contract& contract, const RunOptions& options) {
  std::vector<std::vector<om::Message>> of_worker(options.workers);
  std::int64_t offset = 0;
  for (const Item& item : items(contract.workload, contract.n)) {
    om::Message message{.id = item.id, .business_key = item.id, .key = item.key(), .payload = item.payload()};
    message.origin = {contract.topic, 0, offset++};
    message.event_time = om::Time(std::chrono::seconds(1'764'000'000));
    of_worker[std::hash<std::string>()(item.key()) % options.workers].push_back(std::move(message));
  }
  const Accounts accounts(contract.business);
  std::unordered_set<std::string> done;
  Recorder recorder(done);
  std::vector<std::vector<Statements>> all(options.workers);
  for (std::size_t worker = 0; worker < options.workers; ++worker) {
    std::vector<om::Message> group;
    for (std::size_t i = 0; i < of_worker[worker].size(); ++i) {
      group.push_back(std::move(of_worker[worker][i]));
      if (group.size() < options.max_group && i + 1 < of_worker[worker].size()) continue;
      all[worker].push_back(record(recorder, contract, accounts, options, group));
      group.clear();
    }
  }
  return all;
}

/// Sends recorded transactions over one connection, each statement prepared once.
class Sender {
 public:
  explicit Sender(const Contract& contract) : server_(contract, contract.ours) {
    server_.run("SET NAMES utf8mb4, autocommit = 0");
    server_.run("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED");
  }

  void send(const Statements& statements) {
    for (const Sent& statement : statements) {
      if (statement.params.empty()) {
        server_.run(statement.sql);
        continue;
      }
      sql::PreparedStatement& prepared = prepare(statement.sql);
      for (unsigned i = 0; i < statement.params.size(); ++i) bind(prepared, i + 1, statement.params[i]);
      if (prepared.execute()) {
        const std::unique_ptr<sql::ResultSet> result(prepared.getResultSet());
        while (result->next()) (void)result->getString(1);
      }
    }
  }
  void roll_back() { server_.run("ROLLBACK"); }

 private:
  sql::PreparedStatement& prepare(const std::string& sql) {
    std::unique_ptr<sql::PreparedStatement>& prepared = prepared_[sql];
    if (!prepared) prepared.reset(server_.native().prepareStatement(sql));
    return *prepared;
  }
  static void bind(sql::PreparedStatement& statement, unsigned index, const Value& value) {
    if (const auto* number = std::get_if<std::int64_t>(&value)) {
      statement.setInt64(index, *number);
    } else if (const auto* natural = std::get_if<std::uint64_t>(&value)) {
      statement.setUInt64(index, *natural);
    } else if (const auto* text = std::get_if<std::string>(&value)) {
      statement.setString(index, *text);
    } else if (const auto* time = std::get_if<om::Time>(&value)) {
      statement.setString(index, om::format_datetime(*time));
    } else {
      statement.setNull(index, 0);
    }
  }

  Server server_;
  std::unordered_map<std::string, std::unique_ptr<sql::PreparedStatement>> prepared_;
};

int run(const RunOptions& options) {
  const Contract contract;
  const std::vector<std::vector<Statements>> all = record_all(contract, options);
  std::vector<std::unique_ptr<Sender>> senders;
  for (std::size_t i = 0; i < options.workers; ++i) senders.push_back(std::make_unique<Sender>(contract));

  std::atomic<std::uint64_t> transactions{0}, lost_races{0};
  std::atomic<bool> has_failed{false};
  const double cpu_before = cpu_seconds();
  const auto begin = std::chrono::steady_clock::now();
  {
    std::vector<std::jthread> threads;
    for (std::size_t worker = 0; worker < options.workers; ++worker) {
      threads.emplace_back([&, worker] {
        for (std::size_t next = 0; next < all[worker].size() && !has_failed;) {
          try {
            senders[worker]->send(all[worker][next]);
            ++transactions;
            ++next;
          } catch (const sql::SQLException& error) {
            if (error.getErrorCode() != 1213 && error.getErrorCode() != 1205) {
              std::cerr << "raw_limit: " << error.getErrorCode() << ' ' << error.what() << '\n';
              has_failed = true;
              return;
            }
            ++lost_races;
            senders[worker]->roll_back();
          }
        }
      });
    }
  }
  const double secs = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  if (has_failed) return 1;
  std::printf("{\"secs\":%.3f,\"rate\":%.0f,\"run_cpu_s\":%.2f,\"lost_races\":%llu}\n", secs,
              static_cast<double>(contract.n) / secs, cpu_seconds() - cpu_before,
              static_cast<unsigned long long>(lost_races.load()));
  return 0;
}

}  // namespace
}  // namespace bench

int main(int argc, char** argv) {
  try {
    return bench::run(bench::parse_options(argc, argv));
  } catch (const std::exception& error) {
    std::cerr << "raw_limit: " << error.what() << '\n';
    return 1;
  }
}
