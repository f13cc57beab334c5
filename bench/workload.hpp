#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <map>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

/// The messages of each workload, the same on every run and machine, and what they must leave behind.
///
/// Shape:   w1, w3 and w4 are those of the peers' harness, byte for byte (tests/unit/bench holds the digests of its
///          topics). w5 is w1 with other ids on each run, so that nothing meets its own marks. Those of w6 are ours.
namespace bench {

inline constexpr std::size_t kAccounts = 1'000;
inline constexpr std::size_t kHotAccounts = 10;  // of w6

enum class Fail { no, twice, always };

struct Item {
  std::string id = {};
  std::size_t account = 0;
  std::int64_t amount = 0;
  Fail fail = Fail::no;
  bool is_copy = false;  // a redelivery: same key, headers and value
  bool is_slow = false;  // w6: its handler sleeps for a second

  [[nodiscard]] std::string key() const {
    char text[16];
    std::snprintf(text, sizeof text, "acct-%04zu", account);
    return text;
  }
  /// Exactly 200 bytes.
  [[nodiscard]] std::string payload() const {
    std::string body = R"({"messageId":")" + id + R"(","accountId":)" + std::to_string(account) + R"(,"amount":)" +
                       std::to_string(amount) +
                       R"(,"currency":"EUR","type":"DEPOSIT","occurredAt":"2026-01-01T00:00:00Z","note":")";
    body.resize(198, 'x');
    return body + "\"}";
  }
};

/// splitmix64.
class Draws {
 public:
  explicit Draws(std::uint64_t state) : state_(state) {}

  std::uint64_t next() noexcept {
    std::uint64_t z = state_ += 0x9E3779B97F4A7C15;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
    return z ^ (z >> 31);
  }
  std::size_t below(std::size_t bound) noexcept { return static_cast<std::size_t>(next() % bound); }
  std::string uuid() {
    const std::uint64_t high = next();
    const std::uint64_t low = next();
    char text[40];
    std::snprintf(text, sizeof text, "%08x-%04x-%04x-%04x-%012llx", static_cast<unsigned>(high >> 32),
                  static_cast<unsigned>(high >> 16 & 0xffff), static_cast<unsigned>(high & 0xffff),
                  static_cast<unsigned>(low >> 48), static_cast<unsigned long long>(low & 0xffff'ffff'ffff));
    return text;
  }

 private:
  std::uint64_t state_;
};

struct Shares {
  std::size_t copies = 0, twice = 0, always = 0;  // per cent of all messages
};

[[nodiscard]] inline std::vector<Item> mixed_items(std::size_t n, Shares shares, std::uint64_t seed) {
  Draws draws(seed);
  std::size_t copies = n * shares.copies / 100;
  std::size_t fresh = n - copies;
  std::size_t twice = n * shares.twice / 100;
  std::size_t always = n * shares.always / 100;
  std::vector<Item> all;
  all.reserve(n);
  std::vector<std::size_t> healthy;  // only these are ever copied
  for (std::size_t left = n; left > 0; --left) {
    if (draws.below(left) < copies && !healthy.empty()) {
      Item copy = all[healthy[draws.below(healthy.size())]];
      copy.is_copy = true;
      all.push_back(std::move(copy));
      --copies;
      continue;
    }
    Item item;
    item.id = draws.uuid();
    item.account = draws.below(kAccounts);
    item.amount = 1 + static_cast<std::int64_t>(draws.below(1'000));
    const std::size_t draw = draws.below(fresh--);
    if (draw < twice) {
      item.fail = Fail::twice;
      --twice;
    } else if (draw < twice + always) {
      item.fail = Fail::always;
      --always;
    } else {
      healthy.push_back(all.size());
    }
    all.push_back(std::move(item));
  }
  return all;
}

/// w6. uniform: all accounts alike. hot: half of the messages on ten accounts, the others by Zipf's law (exponent 1)
/// on the rest. slow: as hot, but account 0 has one message in `slow_every`, whose handler sleeps, and no other.
enum class Skew { uniform, hot, slow };

[[nodiscard]] inline std::vector<Item> skewed_items(std::size_t n, Skew skew, std::size_t slow_every) {
  Draws draws(42);
  std::vector<std::uint64_t> weight_up_to;  // of the accounts from kHotAccounts on; integers: the same everywhere
  std::uint64_t weight = 0;
  for (std::size_t rank = 1; rank <= kAccounts - kHotAccounts; ++rank) {
    weight_up_to.push_back(weight += 1'000'000 / rank);
  }
  const auto zipf = [&] {
    const std::uint64_t draw = draws.below(weight);
    std::size_t account = kHotAccounts;
    while (weight_up_to[account - kHotAccounts] <= draw) ++account;
    return account;
  };
  std::vector<Item> all;
  all.reserve(n);
  for (std::size_t i = 0; i < n; ++i) {
    Item item;
    item.id = draws.uuid();
    item.amount = 1 + static_cast<std::int64_t>(draws.below(1'000));
    const std::size_t lowest = skew == Skew::slow ? 1 : 0;
    if (skew == Skew::uniform) {
      item.account = draws.below(kAccounts);
    } else if (skew == Skew::slow && i % slow_every == slow_every / 2) {
      item.is_slow = true;
    } else {
      item.account = draws.below(2) == 0 ? lowest + draws.below(kHotAccounts - lowest) : zipf();
    }
    all.push_back(std::move(item));
  }
  return all;
}

inline constexpr std::uint64_t kSeed = 42;

/// Throws std::invalid_argument for a name that is none.
[[nodiscard]] inline std::vector<Item> items(std::string_view workload, std::size_t n, std::uint64_t seed = kSeed,
                                             std::size_t slow_every = 1'000) {
  if (workload == "w1") return mixed_items(n, {.copies = 10}, kSeed);
  if (workload == "w2" || workload == "w2live") return mixed_items(n, {}, kSeed);
  if (workload == "w3") return mixed_items(n, {.copies = 95}, kSeed);
  if (workload == "w4") return mixed_items(n, {.copies = 10, .twice = 10, .always = 1}, kSeed);
  if (workload == "w5") return mixed_items(n, {.copies = 10}, seed);
  if (workload == "w6-uniform") return skewed_items(n, Skew::uniform, slow_every);
  if (workload == "w6-hot") return skewed_items(n, Skew::hot, slow_every);
  if (workload == "w6-slow") return skewed_items(n, Skew::slow, slow_every);
  throw std::invalid_argument("no such workload: " + std::string(workload));
}

/// FNV-1a over records, one chain a key, so that the order of a key's records counts and that between keys does not:
/// the same for a topic, read partition by partition, and for the list that filled it.
class Digest {
 public:
  void add(std::string_view key, std::string_view id, std::string_view fail, std::string_view payload) {
    std::uint64_t& chain = chains_.try_emplace(std::string(key), kBasis).first->second;
    for (const std::string_view field : {id, fail, payload}) mix(chain, field);
  }
  void add(const Item& item) { add(item.key(), item.id, fail_header(item.fail), item.payload()); }
  [[nodiscard]] std::string str() const {
    std::uint64_t all = kBasis;
    char text[20];
    for (const auto& [key, chain] : chains_) {
      std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(chain));
      mix(all, key);
      mix(all, text);
    }
    std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(all));
    return text;
  }
  /// The value of the header "fail"; empty where there is none.
  static std::string_view fail_header(Fail fail) {
    return fail == Fail::twice ? "2" : fail == Fail::always ? "always" : "";
  }

 private:
  static constexpr std::uint64_t kBasis = 0xcbf29ce484222325;
  static void mix(std::uint64_t& chain, std::string_view field) {
    for (const char c : field) chain = (chain ^ static_cast<unsigned char>(c)) * 0x100000001b3;
    chain = (chain ^ 0xff) * 0x100000001b3;  // the end of a field
  }

  std::map<std::string, std::uint64_t> chains_;
};

}  // namespace bench
