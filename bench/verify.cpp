// The judge: says from the tables and topics alone whether a run was right, in one JSON line. Nothing of the library
// is in it; what should be there comes from the generator.
//
//   bench_verify              the run that the environment names (contract.hpp)
//   bench_verify digest       of PEERS_TOPIC, as bench_load digest gives it for the generator
//   bench_verify versions     of the client libraries and the database
#include <algorithm>
#include <cstdio>
#include <exception>
#include <iostream>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "contract.hpp"
#include "server.hpp"
#include "topic.hpp"
#include "workload.hpp"

namespace bench {
namespace {

class Verdict {
 public:
  void wrong(const std::string& what) {
    if (++count_ <= 5) text_ += (text_.empty() ? "" : "; ") + what;
  }
  void print(const std::string& extra) const {
    std::printf("{\"ok\":%s,\"wrong\":\"%s\"%s}\n", count_ == 0 ? "true" : "false", text_.c_str(), extra.c_str());
  }

 private:
  int count_ = 0;
  std::string text_;
};

/// What the messages add up to, each counted once.
struct Expected {
  std::vector<std::int64_t> balance = std::vector<std::int64_t>(kAccounts);
  std::vector<std::int64_t> version = std::vector<std::int64_t>(kAccounts);
  std::unordered_map<std::string, const Item*> applied;
  std::set<std::string> dead;

  explicit Expected(const std::vector<Item>& all) {
    for (const Item& item : all) {
      if (item.is_copy) continue;
      if (item.fail == Fail::always) {
        dead.insert(item.id);
        continue;
      }
      applied.emplace(item.id, &item);
      balance[item.account] += item.amount;
      ++version[item.account];
    }
  }
};

void check_accounts(Server& server, const Expected& expected, Verdict& verdict) {
  const auto rows = server.rows("SELECT id, balance, version FROM account");
  if (rows.size() != kAccounts) verdict.wrong("there are " + std::to_string(rows.size()) + " accounts");
  for (const auto& row : rows) {
    const std::size_t id = std::stoull(row[0]);
    if (id < kAccounts && std::stoll(row[1]) == expected.balance[id] && std::stoll(row[2]) == expected.version[id]) {
      continue;
    }
    verdict.wrong("account " + row[0] + " has balance " + row[1] + " and version " + row[2]);
  }
}

/// The rows are those of the applied messages, no more and no fewer. How many of them follow a later message of
/// their account: retries may overtake, nothing else may.
std::size_t check_ledger(Server& server, const std::vector<Item>& all, const Expected& expected, Verdict& verdict) {
  std::set<std::string> seen;
  std::vector<const Item*> last(kAccounts, all.data());
  std::size_t disordered = 0;
  const auto rows = server.rows("SELECT message_id, account_id, amount FROM ledger ORDER BY id");
  for (const auto& row : rows) {
    const auto found = expected.applied.find(row[0]);
    if (found == expected.applied.end()) {
      verdict.wrong("the ledger has a stranger " + row[0]);
      continue;
    }
    const Item& item = *found->second;
    if (std::to_string(item.account) != row[1] || std::to_string(item.amount) != row[2]) {
      verdict.wrong("the ledger has " + row[0] + " changed");
    }
    if (!seen.insert(row[0]).second) verdict.wrong("the ledger has " + row[0] + " twice");
    if (&item < last[item.account]) ++disordered;
    last[item.account] = &item;
  }
  if (seen.size() != expected.applied.size()) {
    verdict.wrong("the ledger has " + std::to_string(seen.size()) + " messages, expected " +
                  std::to_string(expected.applied.size()));
  }
  return disordered;
}

/// Every applied message has its mark, and every dead one its state.
void check_marks(Server& server, const Contract& contract, const Expected& expected, Verdict& verdict) {
  std::vector<std::string> ids;
  for (const auto& [id, item] : expected.applied) ids.push_back(id);
  std::size_t done = 0;
  std::size_t dead = 0;
  const auto count = [&](auto begin, auto end, const std::string& state) -> std::size_t {
    if (begin == end) return 0;
    std::string sql = "SELECT COUNT(*) FROM consumed_message WHERE consumer = '" + contract.group + "' AND state = '" +
                      state + "' AND message_key IN ('" + *begin;
    while (++begin != end) sql += "', '" + *begin;
    return std::stoull(server.value(sql + "')"));
  };
  constexpr std::size_t kChunk = 1'000;
  for (std::size_t i = 0; i < ids.size(); i += kChunk) {
    done += count(ids.begin() + static_cast<std::ptrdiff_t>(i),
                  ids.begin() + static_cast<std::ptrdiff_t>(std::min(ids.size(), i + kChunk)), "done");
  }
  dead = count(expected.dead.begin(), expected.dead.end(), "dead");
  if (done != ids.size()) {
    verdict.wrong("consumed_message has " + std::to_string(done) + " done, expected " + std::to_string(ids.size()));
  }
  if (dead != expected.dead.size()) verdict.wrong("consumed_message has " + std::to_string(dead) + " dead");
}

void check_letters(const Contract& contract, const Expected& expected, Verdict& verdict) {
  std::set<std::string> ids;
  std::size_t records = 0;
  read_topic(contract.brokers, contract.dead_letters, [&](const Seen& seen) {
    ++records;
    ids.emplace(seen.message_id);
  });
  if (ids != expected.dead) {
    verdict.wrong("the dead-letter topic has " + std::to_string(ids.size()) + " messages, expected " +
                  std::to_string(expected.dead.size()));
  }
  if (records != ids.size()) verdict.wrong("the dead-letter topic has " + std::to_string(records) + " records");
}

/// Every message is on the topic with its key and payload, and marked in our table or gone from it. Copies and records
/// behind a later one of their key are counted: faults may make them, a healthy run must not.
void judge_relay(const Contract& contract) {
  Verdict verdict;
  const std::vector<Item> all = items(contract.workload, contract.n, contract.seed, contract.slow_every);
  std::unordered_map<std::string, std::size_t> place;
  for (std::size_t i = 0; i < all.size(); ++i) place.emplace(all[i].id, i);
  std::vector<bool> is_seen(all.size());
  std::vector<std::size_t> last(kAccounts);
  std::size_t distinct = 0, copies = 0, disordered = 0;
  read_topic(contract.brokers, contract.topic, [&](const Seen& seen) {
    const auto found = place.find(std::string(seen.id));
    if (found == place.end()) return verdict.wrong("the topic has a stranger " + std::string(seen.id));
    const std::size_t at = found->second;
    if (seen.key != all[at].key() || seen.payload != all[at].payload()) verdict.wrong("changed " + all[at].id);
    if (is_seen[at]) {
      ++copies;
      return;
    }
    is_seen[at] = true;
    ++distinct;
    std::size_t& latest = last[all[at].account];
    if (at < latest) ++disordered;
    latest = std::max(latest, at);
  });
  if (distinct != all.size()) {
    verdict.wrong("the topic has " + std::to_string(distinct) + " messages, expected " + std::to_string(all.size()));
  }
  if (copies > 0) verdict.wrong(std::to_string(copies) + " copies");
  if (disordered > 0) verdict.wrong(std::to_string(disordered) + " records behind a later one of their key");
  Server ours(contract, contract.ours);
  const std::string mine = " FROM outbox_message WHERE id > " + std::to_string(contract.grown) + " AND ";
  const std::string unsent = ours.value("SELECT COUNT(*)" + mine + "status <> 'sent'");
  const std::string sent = ours.value("SELECT COUNT(*)" + mine + "status = 'sent'");
  if (unsent != "0") verdict.wrong(unsent + " rows are not sent");
  if (sent != "0" && sent != std::to_string(all.size())) verdict.wrong(sent + " rows are marked");
  verdict.print(",\"copies\":" + std::to_string(copies) + ",\"disordered\":" + std::to_string(disordered) +
                ",\"kept\":" + sent);
}

void judge(const Contract& contract) {
  Verdict verdict;
  const std::vector<Item> all = items(contract.workload, contract.n, contract.seed, contract.slow_every);
  const Expected expected(all);
  Server business(contract, contract.business);
  check_accounts(business, expected, verdict);
  const std::size_t disordered = check_ledger(business, all, expected, verdict);
  if (disordered > 0 && (contract.workload != "w4" || contract.is_ordered)) {
    verdict.wrong("messages took effect after a later one of their key: " + std::to_string(disordered));
  }
  Server ours(contract, contract.ours);
  check_marks(ours, contract, expected, verdict);
  std::string extra = ",\"distinct\":" + std::to_string(expected.applied.size());
  if (!expected.dead.empty()) {
    check_letters(contract, expected, verdict);
    extra += ",\"dead\":" + std::to_string(expected.dead.size()) + ",\"disordered\":" + std::to_string(disordered);
  }
  verdict.print(extra);
}

void print_digest(const Contract& contract) {
  Digest digest;
  read_topic(contract.brokers, contract.topic,
             [&](const Seen& seen) { digest.add(seen.key, seen.message_id, seen.fail, seen.payload); });
  std::printf("%s\n", digest.str().c_str());
}

void print_versions(const Contract& contract) {
  Server server(contract, contract.business);
  std::printf("{\"mysql\":\"%s\",\"librdkafka\":\"%s\"}\n", server.value("SELECT VERSION()").c_str(),
              rd_kafka_version_str());
}

}  // namespace
}  // namespace bench

int main(int argc, char** argv) {
  try {
    const bench::Contract contract;
    if (argc == 1) {
      if (contract.workload.starts_with("w2")) {
        bench::judge_relay(contract);
      } else {
        bench::judge(contract);
      }
    } else if (argc == 2 && std::string_view(argv[1]) == "digest") {
      bench::print_digest(contract);
    } else if (argc == 2 && std::string_view(argv[1]) == "versions") {
      bench::print_versions(contract);
    } else {
      std::cerr << "usage: bench_verify [digest|versions]\n";
      return 2;
    }
    return 0;
  } catch (const std::exception& error) {
    std::cerr << "bench_verify: " << error.what() << '\n';
    return 1;
  }
}
