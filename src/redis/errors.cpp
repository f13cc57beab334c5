#include <oncemark/redis/errors.hpp>

#include <algorithm>
#include <array>

namespace oncemark::redis {
namespace {

struct Entry {
  std::string_view code;
  ErrorKind kind;
  std::string_view cure;
};

constexpr std::string_view kCheckLogin = "check user and password_file (ACL LIST on the server shows who may log in)";
constexpr std::string_view kNoCluster = "url must name a single server, not a node of a cluster";
constexpr std::string_view kCheckServer = "check url, and that the server runs and can be reached";
constexpr std::string_view kPrimary = "point url at the primary";

// What is in no row is transient, without a cure.
constexpr std::array kTable = {
    Entry{"CLUSTERDOWN", ErrorKind::misuse, kNoCluster},
    Entry{"CROSSSLOT", ErrorKind::misuse, kNoCluster},
    Entry{"DENIED", ErrorKind::misuse,
          "the server is in protected mode: give it a password, or bind it to this address"},
    Entry{"LOADING", ErrorKind::transient, "the server is reading its data after a start"},
    Entry{"MASTERDOWN", ErrorKind::transient, kPrimary},
    Entry{"MISCONF", ErrorKind::transient, "the server cannot save its data to disk; hints need no saving (save \"\")"},
    Entry{"MOVED", ErrorKind::misuse, kNoCluster},
    Entry{"NOAUTH", ErrorKind::misuse, kCheckLogin},
    Entry{"NOPERM", ErrorKind::misuse, "grant the user the command and the keys om:* (ACL SETUSER)"},
    Entry{"OOM", ErrorKind::transient,
          "maxmemory is reached and nothing may be evicted: set maxmemory-policy to allkeys-lru, or raise maxmemory"},
    Entry{"READONLY", ErrorKind::transient, kPrimary},
    Entry{"WRONGPASS", ErrorKind::misuse, kCheckLogin},
    Entry{"busy", ErrorKind::transient, "raise ClientOptions::size"},
    Entry{"closed", ErrorKind::transient, "the server was restarted, or dropped this client (CLIENT KILL, timeout)"},
    Entry{"connection", ErrorKind::transient, kCheckServer},
    Entry{"protocol", ErrorKind::transient, "what listens there is no Redis server, or not without TLS"},
    Entry{"timeout", ErrorKind::transient, {}},  // the option to raise depends on what was waited for
};
static_assert(std::ranges::is_sorted(kTable, {}, &Entry::code));

const Entry* find(std::string_view code) noexcept {
  const auto* const entry = std::ranges::lower_bound(kTable, code, {}, &Entry::code);
  return entry != kTable.end() && entry->code == code ? entry : nullptr;
}

}  // namespace

ErrorKind classify(std::string_view code) noexcept {
  const Entry* entry = find(code);
  return entry != nullptr ? entry->kind : ErrorKind::transient;
}

std::string_view cure(std::string_view code) noexcept {
  const Entry* entry = find(code);
  return entry != nullptr ? entry->cure : std::string_view();
}

}  // namespace oncemark::redis
