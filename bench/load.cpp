// What a run starts from. See usage() for the commands; the addresses come from the environment (contract.hpp).
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <exception>
#include <iostream>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <oncemark/binlog/relay.hpp>
#include <oncemark/kafka/admin.hpp>
#include <oncemark/kafka/producer.hpp>
#include <oncemark/mysql/migration.hpp>
#include <oncemark/mysql/pool.hpp>
#include <oncemark/observe/log.hpp>
#include <oncemark/outbox/writer.hpp>

#include "contract.hpp"
#include "producer.hpp"
#include "server.hpp"
#include "workload.hpp"

namespace om = oncemark;
using namespace std::chrono_literals;

namespace bench {
namespace {

int usage() {
  std::cerr << "usage: bench_load tables|schema|topic|empty-topic|outbox|passing-outbox|digest|ping|flush, or "
               "bench_load marks ROWS, or bench_load sent-rows ROWS\n"
               "  tables   account with a thousand rows of balance 0, ledger empty\n"
               "  schema   our own tables, empty\n"
               "  topic    PEERS_TOPIC with the messages of PEERS_WORKLOAD\n"
               "  empty-topic  PEERS_TOPIC without any\n"
               "  outbox   those messages in our outbox, one transaction each, by four writers; a key has one writer\n"
               "  passing-outbox  the same, each row removed in the transaction that inserts it\n"
               "  digest   of those messages, without a server\n"
               "  ping     median round trip to the database, in milliseconds\n"
               "  marks    rows of PEERS_GROUP in consumed_message, with random keys: adds what is missing\n"
               "  sent-rows  rows of our outbox that were sent long ago: adds what is missing, and removes all others\n"
               "  flush    waits until the database has written its dirty pages\n";
  return 2;
}

void make_tables(const Contract& contract) {
  Server server(contract, contract.business);
  server.run(
      "CREATE TABLE IF NOT EXISTS account (id INT NOT NULL PRIMARY KEY, balance BIGINT NOT NULL DEFAULT 0, "
      "version BIGINT NOT NULL DEFAULT 0) ENGINE=InnoDB");
  server.run(
      "CREATE TABLE IF NOT EXISTS ledger (id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY, message_id VARCHAR(64) NOT "
      "NULL, account_id INT NOT NULL, amount BIGINT NOT NULL) ENGINE=InnoDB DEFAULT CHARSET=ascii");
  server.run("TRUNCATE TABLE account");
  server.run("TRUNCATE TABLE ledger");
  std::string insert = "INSERT INTO account (id) VALUES (0)";
  for (std::size_t id = 1; id < kAccounts; ++id) insert += ", (" + std::to_string(id) + ")";
  server.run(insert);
}

void make_schema(const Contract& contract) {
  {
    Server server(contract, contract.business);
    server.run("DROP DATABASE IF EXISTS " + contract.ours);
    server.run("CREATE DATABASE " + contract.ours);
  }
  om::mysql::Pool pool(our_tables(contract, 2));
  (void)om::mysql::apply_migrations(pool);
}

void empty_topic(const Contract& contract) {
  om::kafka::Admin(contract.brokers).create({{.name = contract.topic, .partitions = 4, .replication = 1}});
}

/// Durability is off meanwhile: the writers are not what is measured.
void fill_outbox(const Contract& contract, RowOf row) {
  const std::vector<Item> all = items(contract.workload, contract.n, contract.seed, contract.slow_every);
  Server server(contract, contract.ours);
  server.run("SET GLOBAL innodb_flush_log_at_trx_commit = 0");
  server.run("SET GLOBAL sync_binlog = 0");
  om::mysql::Pool pool(our_tables(contract, kWriters));
  (void)om::binlog::set_checkpoint_now(pool);  // a relay that reads the binlog begins before the rows
  std::atomic<bool> is_complete{true};
  {
    std::vector<std::jthread> writers;
    for (std::size_t writer = 0; writer < kWriters; ++writer) {
      writers.emplace_back([&, writer] {
        try {
          for (const Item& item : all) {
            if (item.account % kWriters == writer) append(pool, contract.topic, item, row);
          }
        } catch (const std::exception& error) {
          std::cerr << "bench_load: " << error.what() << '\n';
          is_complete = false;
        }
      });
    }
  }
  server.run("SET GLOBAL innodb_flush_log_at_trx_commit = 1");
  server.run("SET GLOBAL sync_binlog = 1");
  server.run("FLUSH LOGS");
  if (!is_complete) throw std::runtime_error("the outbox is not filled");
}

void collect(om::kafka::Producer& producer, std::size_t& acked, std::chrono::milliseconds wait) {
  for (const om::Delivery& delivery : producer.deliveries(wait)) {
    if (delivery.status != om::DeliveryStatus::acked) throw std::runtime_error("not on the topic: " + delivery.error);
    ++acked;
  }
}

void fill_topic(const Contract& contract) {
  const std::vector<Item> all = items(contract.workload, contract.n, contract.seed, contract.slow_every);
  empty_topic(contract);
  om::kafka::Producer producer({.brokers = contract.brokers, .linger = 20ms});
  std::size_t acked = 0;
  std::uint64_t token = 0;
  for (const Item& item : all) {
    om::OutgoingRecord record{.topic = contract.topic, .key = item.key(), .payload = item.payload()};
    record.headers.append("message-id", item.id);
    if (item.fail != Fail::no) record.headers.append("fail", om::Bytes(Digest::fail_header(item.fail)));
    while (producer.send(record, token) == om::Sent::queue_full) collect(producer, acked, 100ms);
    if (++token % 1'000 == 0) collect(producer, acked, 0ms);
  }
  const auto deadline = std::chrono::steady_clock::now() + 60s;
  while (acked < all.size()) {
    if (std::chrono::steady_clock::now() > deadline) throw std::runtime_error("the topic is not filled after 60 s");
    collect(producer, acked, 100ms);
  }
}

void print_digest(const Contract& contract) {
  Digest digest;
  for (const Item& item : items(contract.workload, contract.n, contract.seed, contract.slow_every)) digest.add(item);
  std::printf("%s\n", digest.str().c_str());
}

void ping(const Contract& contract) {
  Server server(contract, contract.business);
  std::vector<double> times;
  for (int i = 0; i < 300; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    server.run("DO 1");
    times.push_back(std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count());
  }
  std::ranges::nth_element(times, times.begin() + 150);
  std::printf("%.3f\n", times[150]);
}

/// Keys are drawn one in each of equal stretches of the key space and inserted in order: random to whoever looks one
/// up, and quick to load. Growing a table goes through its keys once more, which leaves pages as full as in real life.
void add_marks(const Contract& contract, std::uint64_t wanted) {
  Server server(contract, contract.ours);
  const std::string mine =
      " FROM consumed_message WHERE consumer = '" + contract.group + "' AND origin_topic = 'marks'";
  const std::uint64_t present = std::stoull(server.value("SELECT COUNT(*)" + mine));
  if (present >= wanted) return;
  const std::uint64_t missing = wanted - present;
  const std::string step = std::to_string(UINT64_MAX / missing);
  server.run("SET SESSION sql_log_bin = 0, SESSION unique_checks = 0");
  server.run("SET GLOBAL innodb_flush_log_at_trx_commit = 0");
  constexpr std::uint64_t kChunk = 100'000;
  for (std::uint64_t first = 0; first < missing; first += kChunk) {
    const std::uint64_t last = std::min(missing, first + kChunk) - 1;
    const std::string number = "seq + " + std::to_string(present);
    server.run(
        "INSERT INTO consumed_message (consumer, message_key, state, life, attempt, token, payload_hash, message_id, "
        "origin_topic, origin_partition, origin_offset, event_time, consumed_at) SELECT '" +
        contract.group + "', @key := LOWER(CONCAT(LPAD(HEX(seq * " + step + " + FLOOR(RAND() * " + step +
        ")), 16, '0'), LEFT(MD5(" + number + "), 20))), 'done', 1, 0, CRC32(MD5(" + number + ")), CRC32(seq), @key, " +
        "'marks', 0, " + number + ", UTC_TIMESTAMP(6), UTC_TIMESTAMP(6) FROM seq_" + std::to_string(first) + "_to_" +
        std::to_string(last));
  }
  server.run("SET GLOBAL innodb_flush_log_at_trx_commit = 1");
  const std::string now = server.value("SELECT COUNT(*)" + mine);
  if (now != std::to_string(wanted)) throw std::runtime_error("consumed_message has " + now + " marks");
}

/// Rows that were sent and kept, with the ids from 1 on. Their message ids are as keys of add_marks.
void add_sent_rows(const Contract& contract, std::uint64_t wanted) {
  Server(contract, contract.business).run("CREATE DATABASE IF NOT EXISTS " + contract.ours);
  om::mysql::Pool pool(our_tables(contract, 2));
  (void)om::mysql::apply_migrations(pool);
  Server server(contract, contract.ours);
  server.run("DELETE FROM outbox_message WHERE id > " + std::to_string(wanted));
  const std::uint64_t present = std::stoull(server.value("SELECT COALESCE(MAX(id), 0) FROM outbox_message"));
  const std::string step = std::to_string(UINT64_MAX / (wanted + 1));
  server.run("SET SESSION sql_log_bin = 0, SESSION unique_checks = 0");
  server.run("SET GLOBAL innodb_flush_log_at_trx_commit = 0");
  constexpr std::uint64_t kChunk = 100'000;
  for (std::uint64_t first = present + 1; first <= wanted; first += kChunk) {
    const std::uint64_t last = std::min(wanted, first + kChunk - 1);
    server.run(
        "INSERT INTO outbox_message (id, message_id, relay, shard, topic, message_key, event_time, payload, headers, "
        "status, available_at, created_at, sent_at) SELECT seq, LOWER(CONCAT(LPAD(HEX(seq * " +
        step +
        "), 16, '0'), LEFT(MD5(seq), 20))), 'main', seq % 64, 'sent-long-ago', CONCAT('acct-', seq % 1000), "
        "UTC_TIMESTAMP(6), REPEAT('x', 60), '[]', 'sent', UTC_TIMESTAMP(6), UTC_TIMESTAMP(6), UTC_TIMESTAMP(6) FROM "
        "seq_" +
        std::to_string(first) + "_to_" + std::to_string(last));
  }
  server.run("SET GLOBAL innodb_flush_log_at_trx_commit = 1");
  const std::string now = server.value("SELECT COUNT(*) FROM outbox_message FORCE INDEX (due)");
  if (now != std::to_string(wanted)) throw std::runtime_error("outbox_message has " + now + " rows");
}

void flush(const Contract& contract) {
  Server server(contract, contract.ours);
  const std::vector<std::string> before =
      server.rows("SELECT @@innodb_max_dirty_pages_pct, @@innodb_io_capacity, @@innodb_io_capacity_max").at(0);
  server.run(
      "SET GLOBAL innodb_io_capacity_max = 40000, GLOBAL innodb_io_capacity = 20000, GLOBAL innodb_max_dirty_pages_pct "
      "= 0");
  const auto deadline = std::chrono::steady_clock::now() + 300s;
  std::uint64_t dirty = 0;
  do {
    std::this_thread::sleep_for(200ms);
    dirty = std::stoull(server.rows("SHOW GLOBAL STATUS LIKE 'Innodb_buffer_pool_pages_dirty'").at(0).at(1));
  } while (dirty > 500 && std::chrono::steady_clock::now() < deadline);
  server.run("SET GLOBAL innodb_max_dirty_pages_pct = " + before[0] + ", GLOBAL innodb_io_capacity = " + before[1] +
             ", GLOBAL innodb_io_capacity_max = " + before[2]);
  if (dirty > 500) throw std::runtime_error("after 300 s there are still " + std::to_string(dirty) + " dirty pages");
}

int run(const std::vector<std::string>& words) {
  if (words.size() == 2 && words[0] == "marks") {
    add_marks(Contract(), std::stoull(words[1]));
    return 0;
  }
  if (words.size() == 2 && words[0] == "sent-rows") {
    add_sent_rows(Contract(), std::stoull(words[1]));
    return 0;
  }
  if (words.size() != 1) return usage();
  if (words[0] == "tables") return make_tables(Contract()), 0;
  if (words[0] == "schema") return make_schema(Contract()), 0;
  if (words[0] == "topic") return fill_topic(Contract()), 0;
  if (words[0] == "empty-topic") return empty_topic(Contract()), 0;
  if (words[0] == "outbox") return fill_outbox(Contract(), RowOf::the_table), 0;
  if (words[0] == "passing-outbox") return fill_outbox(Contract(), RowOf::the_binlog_alone), 0;
  if (words[0] == "digest") return print_digest(Contract()), 0;
  if (words[0] == "ping") return ping(Contract()), 0;
  if (words[0] == "flush") return flush(Contract()), 0;
  return usage();
}

}  // namespace
}  // namespace bench

int main(int argc, char** argv) {
  om::set_log_level(om::LogLevel::error);
  try {
    return bench::run(std::vector<std::string>(argv + 1, argv + argc));
  } catch (const std::exception& error) {
    std::cerr << "bench_load: " << error.what() << '\n';
    return 1;
  }
}
