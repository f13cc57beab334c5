// The workload of tools/torture: one process of a small bank, written against the public headers as a user would.
//
// usage: torture_worker produce HISTORY NAME=VALUE...    transfers, with their outbox rows, in business transactions
//        torture_worker relay   HISTORY NAME=VALUE...    an outbox relay
//        torture_worker consume HISTORY NAME=VALUE...    a consumer, with the relay of its retries and letters
//
//   name=ID  topic=T  keys=N                             of all
//   rate=N   seed=N                                      messages a second, and what is chosen
//   relay=R                                              whose rows
//   consumer=C  group=G  order=by_key|none  hint=yes|no  instance=ID  session=MS
//
// Servers come from the environment that tools/stack exports, by way of proxies. What it does is in HISTORY.
//
// The id of a message begins with what becomes of it:
//   plain-   takes effect                      free-    the same, without a key
//   slow-    the same, after up to 1.5 s       flaky-   fails on its first delivery of a life
//   healed-  fails for good in its first life  poison-  fails for good in every life
// Those that fail do so after they have written their effect.
#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <iostream>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>

#include <unistd.h>

#include <oncemark/consume/runner.hpp>
#include <oncemark/core/id.hpp>
#include <oncemark/core/signals.hpp>
#include <oncemark/dead_letter/router.hpp>
#include <oncemark/inbox/dedup.hpp>
#include <oncemark/inbox/redis_hint.hpp>
#include <oncemark/kafka/consumer.hpp>
#include <oncemark/kafka/producer.hpp>
#include <oncemark/outbox/relay.hpp>
#include <oncemark/outbox/writer.hpp>

#include "torture/history.hpp"

namespace om = oncemark;
using namespace std::chrono_literals;
using om::torture::History;

namespace {

class Arguments {
 public:
  Arguments(int argc, char** argv) {
    for (int i = 3; i < argc; ++i) {
      const std::string argument = argv[i];
      const auto equals = argument.find('=');
      values_[argument.substr(0, equals)] = equals == std::string::npos ? "" : argument.substr(equals + 1);
    }
  }
  [[nodiscard]] std::string text(const std::string& name) const {
    const auto found = values_.find(name);
    if (found == values_.end()) throw std::invalid_argument(name + "= is missing");
    return found->second;
  }
  [[nodiscard]] int number(const std::string& name) const { return std::stoi(text(name)); }

 private:
  std::map<std::string, std::string> values_;
};

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  if (value == nullptr) throw std::invalid_argument(std::string(name) + " is not set");
  return value;
}

// Short time-outs: the faults are short too.
om::mysql::PoolOptions database() {
  return {.url = environment("ONCEMARK_MYSQL__URL"),
          .user = environment("ONCEMARK_MYSQL__USER"),
          .password_file = environment("ONCEMARK_MYSQL__PASSWORD_FILE"),
          .schema = environment("ONCEMARK_MYSQL__SCHEMA"),
          .size = 12,
          .connect_timeout = 3s,
          .read_timeout = 6s,
          .wait_timeout = 8s,
          .lock_wait_timeout = 2s,
          .acquire_timeout = 8s};
}

struct Carrier {
  Carrier(om::mysql::Pool& db, const std::string& name)
      : out({.brokers = environment("ONCEMARK_KAFKA__BROKERS")}),
        relay(db, out, {.name = name, .batch = 500, .poll_interval = 10ms, .max_poll_interval = 100ms}) {}
  om::kafka::Producer out;
  om::outbox::Relay relay;
};

/// A transaction that was given up on purpose.
struct GivenUp {};

class Producer {
 public:
  Producer(const History& history, const Arguments& arguments)
      : history_(history),
        topic_(arguments.text("topic")),
        prefix_(arguments.text("name") + "." + std::to_string(::getpid())),
        keys_(arguments.number("keys")),
        rate_(arguments.number("rate")),
        random_(static_cast<std::uint64_t>(arguments.number("seed"))) {}

  void run(std::stop_token stop) {
    auto due = std::chrono::steady_clock::now();
    while (!stop.stop_requested()) {
      const int messages = transaction();
      due = std::max(due, std::chrono::steady_clock::now() - 500ms) + 1'000'000us * messages / rate_;
      std::this_thread::sleep_until(due);
    }
  }

 private:
  int one_in(int n) { return std::uniform_int_distribution<int>(0, n - 1)(random_) == 0; }
  int below(int n) { return std::uniform_int_distribution<int>(0, n - 1)(random_); }

  std::string kind() {
    const int dice = below(10'000);
    if (dice < 100) return "flaky";
    if (dice < 120) return "poison";
    if (dice < 150) return "healed";
    if (dice < 165) return "slow";
    if (dice < 600) return "free";
    return "plain";
  }

  /// A few transfers of a few accounts. Returns how many.
  int transaction() {
    bool is_open = false;  // a line about this transaction says how it began and none how it ended
    int messages = 0;
    try {
      db_.transact([&](om::mysql::Transaction& tx) {
        if (is_open) history_.note("undone " + std::to_string(transactions_));
        ++transactions_;
        messages = 0;
        std::map<int, int> chosen;  // in the order of their keys, which is the order of locks
        for (int i = below(4); i >= 0; --i) chosen[below(keys_)] = 1 + below(6);
        std::vector<std::pair<std::string, int>> ids;  // and keys
        std::string intent = "intent " + std::to_string(transactions_);
        for (const auto& [key, count] : chosen) {
          for (int i = 0; i < count; ++i) {
            ids.emplace_back(kind() + "-" + prefix_ + "-" + std::to_string(++sent_), key);
            intent += " " + ids.back().first;
          }
        }
        history_.note(intent);
        is_open = true;
        for (const auto& [id, key] : ids) append(tx, id, key);
        messages = static_cast<int>(ids.size());
        if (one_in(40)) std::this_thread::sleep_for(std::chrono::milliseconds(below(300)));
        if (one_in(25)) throw GivenUp{};
      });
      history_.note("committed " + std::to_string(transactions_));
    } catch (const GivenUp&) {
      history_.note("undone " + std::to_string(transactions_));
    } catch (const om::InDoubtError& error) {
      history_.note("in-doubt " + std::to_string(transactions_));
    } catch (const om::Error& error) {
      history_.note((is_open ? "undone " : "refused ") + std::to_string(transactions_) + " " + error.what());
      std::this_thread::sleep_for(100ms);
    }
    return messages;
  }

  void append(om::mysql::Transaction& tx, const std::string& id, int key) {
    const bool has_key = !id.starts_with("free");
    std::uint64_t seq = 0;
    if (has_key) {
      seq = tx.query_row("SELECT seq FROM sequence WHERE k = ? FOR UPDATE", key)->get<std::uint64_t>(0) + 1;
      tx.execute("UPDATE sequence SET seq = ? WHERE k = ?", seq, key);
    }
    // Most transfers are between accounts that nobody else touches, the others meet at a few.
    const int to = one_in(10) ? 2 * keys_ + below(50) : keys_ + key;
    const int amount = 1 + below(100);
    tx.execute("INSERT INTO transfer (id, k, seq, debit, credit, amount) VALUES (?, ?, ?, ?, ?, ?)", id,
               has_key ? key : -1, seq, key, to, amount);
    std::string payload = std::to_string(has_key ? key : -1) + ' ' + std::to_string(seq) + ' ' + std::to_string(key) +
                          ' ' + std::to_string(to) + ' ' + std::to_string(amount) + ' ';
    if (one_in(100)) payload.append(10'000, '.');
    if (one_in(20'000)) payload.append(900'000, '.');
    om::outbox::Draft draft{.topic = topic_, .payload = payload, .id = id};
    if (has_key) draft.key = "key-" + std::to_string(key);
    om::outbox::append(tx, draft);
  }

  const History& history_;
  std::string topic_;
  std::string prefix_;
  int keys_;
  int rate_;
  std::mt19937_64 random_;
  om::mysql::Pool db_{database()};
  std::uint64_t sent_ = 0;
  std::uint64_t transactions_ = 0;
};

class Effect {
 public:
  Effect(const History& history, std::string consumer) : history_(history), consumer_(std::move(consumer)) {}

  void operator()(const om::Message& message, om::mysql::Transaction& tx) const {
    const std::string& id = message.id;
    const std::string which = id + " life=" + std::to_string(message.life) +
                              " attempt=" + std::to_string(message.attempt) + " at " + message.read_at.str();
    history_.note("run " + which);
    if (id.starts_with("slow")) std::this_thread::sleep_for(std::chrono::milliseconds(om::random_token() % 1'500));
    int key = 0;
    std::uint64_t seq = 0;
    int debit = 0;
    int credit = 0;
    int amount = 0;
    std::istringstream text(std::string(message.payload.str().substr(0, 100)));
    if (!(text >> key >> seq >> debit >> credit >> amount)) throw om::PermanentError("no transfer");
    // The lower account first, which is that of the key: its lock lines up what comes of that key.
    move(tx, debit, -amount);
    move(tx, credit, amount);
    tx.execute("INSERT INTO effect (consumer, id, k, seq, attempt, life) VALUES (?, ?, ?, ?, ?, ?)", consumer_, id, key,
               seq, message.attempt, message.life);
    tx.after_commit([this, which] { history_.note("applied " + which); });
    if (id.starts_with("flaky") && message.attempt == 1) throw std::runtime_error("not yet");
    if (id.starts_with("poison")) throw om::PermanentError("never");
    if (id.starts_with("healed") && message.life == 1) throw om::PermanentError("not in this life");
  }

 private:
  void move(om::mysql::Transaction& tx, int account, int amount) const {
    tx.execute("UPDATE account SET balance = balance + ? WHERE consumer = ? AND id = ?", amount, consumer_, account);
  }
  const History& history_;
  std::string consumer_;
};

void consume(const History& history, const Arguments& arguments, const std::stop_token& stop) {
  const std::string consumer = arguments.text("consumer");
  om::mysql::Pool db{database()};
  Carrier failures_out(db, consumer);
  om::kafka::Consumer source{{.brokers = environment("ONCEMARK_KAFKA__BROKERS"),
                              .group = arguments.text("group"),
                              .topics = {arguments.text("topic")},
                              .instance_id = arguments.text("instance"),
                              .session_timeout = std::chrono::milliseconds(arguments.number("session")),
                              .max_poll_interval = 20s}};
  std::unique_ptr<om::inbox::RedisHint> hint;
  if (arguments.text("hint") == "yes") {
    hint = std::make_unique<om::inbox::RedisHint>(
        db, om::inbox::RedisHintOptions{.redis = {.url = environment("ONCEMARK_REDIS__URL"),
                                                  .user = environment("ONCEMARK_REDIS__USER"),
                                                  .password_file = environment("ONCEMARK_REDIS__PASSWORD_FILE")}});
  }
  om::inbox::Dedup once{db,
                        {.consumer = consumer,
                         .effects = om::Effects::transaction,
                         .hint = hint.get(),
                         .hint_use = {.trust = om::inbox::Trust::skip, .ask_above = 0}},
                        Effect(history, consumer)};
  om::dead_letter::Router failures{
      db,
      {.retries = {.delays = {300ms, 1'000ms, 2'000ms},
                   .order = arguments.text("order") == "by_key" ? om::retry::Order::by_key : om::retry::Order::none,
                   .on_dead = om::retry::OnDead::continue_key,
                   .head_lease = 2'000ms}}};
  om::consume::Runner runner{source,
                             once,
                             failures,
                             {.workers = 4,
                              .commit_interval = 100ms,
                              .drain_timeout = 3'000ms,
                              .drivers = 2,
                              .breaker = {.first_probe = 200ms, .longest_probe = 1'000ms}}};
  runner.run(stop);
}

int run(const std::string& role, const char* history_path, const Arguments& arguments) {
  const History history(history_path);
  history.note("begin " + role + " " + std::to_string(::getpid()));
  om::StopOnSignal signals;
  const std::stop_token stop = signals.token();
  if (role == "produce") {
    Producer(history, arguments).run(stop);
  } else if (role == "relay") {
    om::mysql::Pool db{database()};
    Carrier carrier(db, arguments.text("relay"));
    while (!stop.stop_requested()) std::this_thread::sleep_for(20ms);
  } else if (role == "consume") {
    consume(history, arguments, stop);
  } else {
    throw std::invalid_argument("no such role: " + role);
  }
  history.note("end");
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4) {
    std::cerr << "usage: torture_worker produce|relay|consume HISTORY NAME=VALUE...\n";
    return 2;
  }
  try {
    return run(argv[1], argv[2], Arguments(argc, argv));
  } catch (const std::exception& error) {
    std::cerr << "torture_worker: " << error.what() << '\n';
    return 1;
  }
}
