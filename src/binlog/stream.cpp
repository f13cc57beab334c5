// The one file that names types of libmariadb. It carries packets: what its replication calls make of them is wrong for
// several kinds of events and columns.
#include "binlog/stream.hpp"

#include <algorithm>
#include <atomic>
#include <charconv>
#include <string>

#include <mariadb/mysql.h>
#include <sys/socket.h>

#include <oncemark/binlog/errors.hpp>
#include <oncemark/core/id.hpp>
#include <oncemark/mysql/errors.hpp>

#include "core/secret_file.hpp"

namespace oncemark::binlog {
namespace {

constexpr int kFatalReadError = 1236;    // ER_MASTER_FATAL_ERROR_READING_BINLOG: most of what can be wrong with a place
constexpr int kSameServerId = 4052;      // MariaDB's number for a second reader with this server id
constexpr unsigned kDumpWithGtids = 30;  // COM_BINLOG_DUMP_GTID, which libmariadb has no name for
constexpr unsigned kThroughGtid = 4;     // flag of that command
constexpr std::uint64_t kFirstPosition = 4;
constexpr std::uint64_t kMaxPosition = 0xffffffff;  // the command has 32 bits for it
constexpr unsigned kSilentHeartbeats = 3;

struct Close {
  void operator()(MYSQL* connection) const noexcept { mysql_close(connection); }
};
using Handle = std::unique_ptr<MYSQL, Close>;

struct Address {
  std::string host;
  unsigned port = 0;
  std::string socket;
};

// The pool's options have been checked: tcp://host:port or unix:///path.
Address parse_address(std::string_view url) {
  Address address;
  if (url.starts_with("unix://")) {
    address.socket = std::string(url.substr(7));
    return address;
  }
  url.remove_prefix(std::string_view("tcp://").size());
  const std::size_t colon = url.rfind(':');
  const bool has_port = colon != std::string_view::npos && url.find(']', colon) == std::string_view::npos;
  address.port = 3306;
  if (has_port) std::from_chars(url.data() + colon + 1, url.data() + url.size(), address.port);
  address.host = std::string(has_port ? url.substr(0, colon) : url);
  if (address.host.starts_with('[')) address.host = address.host.substr(1, address.host.size() - 2);
  return address;
}

void put(std::string& out, std::uint64_t value, unsigned bytes) {
  for (unsigned i = 0; i < bytes; ++i) out += static_cast<char>(value >> (8 * i));
}

std::uint32_t random_server_id() noexcept {
  return static_cast<std::uint32_t>(random_token() % 0x3fffffff) + 0x40000000;  // far from what people choose
}

}  // namespace

struct Stream::State {
  [[noreturn]] void raise(const std::string& tried) const;
  void connect(const mysql::PoolOptions& options, std::chrono::milliseconds heartbeat);
  void run(const std::string& sql) const;
  void prepare(const ServerFacts& facts, std::chrono::milliseconds heartbeat) const;
  void start(const ServerFacts& facts, const Place& from, std::uint32_t server_id) const;

  Handle connection;
  std::string url;
  std::string from_text;
  std::atomic<bool> is_cancelled{false};
};

// The number alone does not tell a place that is gone from a reader that is one too many.
void Stream::State::raise(const std::string& tried) const {
  const int code = static_cast<int>(mysql_errno(connection.get()));
  const std::string text = mysql_error(connection.get());
  const auto says = [&](std::string_view words) { return text.find(words) != std::string::npos; };
  if (code == kSameServerId || (code == kFatalReadError && (says("same server_id") || says("same server_uuid")))) {
    throw UnavailableError(tried + ": another reader has the server id of this one: " + text);
  }
  if (code == kFatalReadError && says("max_allowed_packet")) {
    throw BinlogError(Trouble::unsupported, tried + ": " + text + "; raise max_allowed_packet on the server");
  }
  if (code == kFatalReadError) {
    throw BinlogError(Trouble::purged, tried + ": the server cannot go on from " + from_text + ": " + text);
  }
  throw mysql::make_error(tried, code, mysql_sqlstate(connection.get()), text);
}

void Stream::State::connect(const mysql::PoolOptions& options, std::chrono::milliseconds heartbeat) {
  connection.reset(mysql_init(nullptr));
  if (!connection) throw std::bad_alloc();
  MYSQL* native = connection.get();
  const auto seconds = [](auto time) {
    return std::max<unsigned>(1, static_cast<unsigned>(std::chrono::ceil<std::chrono::seconds>(time).count()));
  };
  const unsigned connect_timeout = seconds(options.connect_timeout);
  const unsigned silence = seconds(kSilentHeartbeats * heartbeat);
  mysql_optionsv(native, MYSQL_OPT_CONNECT_TIMEOUT, &connect_timeout);
  mysql_optionsv(native, MYSQL_OPT_READ_TIMEOUT, &silence);
  mysql_optionsv(native, MYSQL_OPT_WRITE_TIMEOUT, &silence);
  mysql_optionsv(native, MYSQL_SET_CHARSET_NAME, "utf8mb4");
  const unsigned off = 0;
  mysql_optionsv(native, MYSQL_OPT_LOCAL_INFILE, &off);
  if (!options.tls_ca.empty()) {
    const my_bool on = 1;
    mysql_optionsv(native, MYSQL_OPT_SSL_CA, options.tls_ca.c_str());
    mysql_optionsv(native, MYSQL_OPT_SSL_ENFORCE, &on);
    mysql_optionsv(native, MYSQL_OPT_SSL_VERIFY_SERVER_CERT, &on);
  }
  const std::string password =
      options.password_file.empty() ? options.password : read_secret_file("password_file", options.password_file);
  const Address address = parse_address(options.url);
  const char* const host = address.socket.empty() ? address.host.c_str() : "localhost";
  const char* const socket = address.socket.empty() ? nullptr : address.socket.c_str();
  if (mysql_real_connect(native, host, options.user.c_str(), password.c_str(), nullptr, address.port, socket, 0) ==
      nullptr) {
    raise("connect to " + url + " as " + options.user + " for its binlog");
  }
  if (!options.tls_ca.empty() && mysql_get_ssl_cipher(native) == nullptr) {
    throw MisuseError("connect to " + url + ": tls_ca is set, but the connection is not encrypted");
  }
}

void Stream::State::run(const std::string& sql) const {
  if (mysql_real_query(connection.get(), sql.data(), sql.size()) != 0) raise(sql);
}

// Announces that checksums are understood (else the server refuses), and, to MariaDB, GTIDs. A reader that is held up
// for long, because the broker is away, must not be cut off for it.
void Stream::State::prepare(const ServerFacts& facts, std::chrono::milliseconds heartbeat) const {
  const std::string period = std::to_string(std::chrono::nanoseconds(heartbeat).count());
  run("SET @master_binlog_checksum = @@global.binlog_checksum, @source_binlog_checksum = @@global.binlog_checksum, "
      "@master_heartbeat_period = " +
      period + ", @source_heartbeat_period = " + period);
  run("SET SESSION net_write_timeout = 3600");
  if (facts.flavor == Flavor::mariadb) run("SET @mariadb_slave_capability = 4");
}

void Stream::State::start(const ServerFacts& facts, const Place& from, std::uint32_t server_id) const {
  const bool is_by_gtid = !from.gtids.empty();
  const unsigned no_flags = 0;
  std::string command;
  unsigned code = COM_BINLOG_DUMP;
  if (is_by_gtid && facts.flavor == Flavor::mysql) {
    const std::string set = GtidSet::parse(facts.flavor, from.gtids).encoded();
    code = kDumpWithGtids;
    put(command, kThroughGtid, 2);
    put(command, server_id, 4);
    put(command, 0, 4);  // length of the file's name
    put(command, kFirstPosition, 8);
    put(command, set.size(), 4);
    command += set;
  } else {
    if (is_by_gtid) {
      const std::string state = GtidSet::parse(facts.flavor, from.gtids).str();
      run("SET @slave_connect_state = '" + state + "', @slave_gtid_strict_mode = 1, @slave_gtid_ignore_duplicates = 0");
    } else if (from.position > kMaxPosition) {
      throw BinlogError(Trouble::unsupported,
                        "the place " + to_string(from) + " lies beyond 4 GiB, where a reader can start by GTID only");
    }
    put(command, is_by_gtid ? kFirstPosition : std::max(from.position, kFirstPosition), 4);
    put(command, no_flags, 2);
    put(command, server_id, 4);
    if (!is_by_gtid) command += from.file;
  }
  if (connection->methods->db_command(connection.get(), static_cast<enum_server_command>(code), command.data(),
                                      command.size(), 1, nullptr) != 0) {
    raise("reading the binlog of " + url);
  }
}

Stream::Stream(const mysql::PoolOptions& options, const ServerFacts& facts, const Place& from, StreamOptions stream)
    : state_(std::make_unique<State>()) {
  state_->url = options.url;
  state_->from_text = from.gtids.empty() ? to_string(from) : "GTID " + from.gtids;
  state_->connect(options, stream.heartbeat);
  state_->prepare(facts, stream.heartbeat);
  state_->start(facts, from, stream.server_id == 0 ? random_server_id() : stream.server_id);
}

Stream::~Stream() = default;

std::string_view Stream::read() {
  MYSQL* native = state_->connection.get();
  if (state_->is_cancelled) throw UnavailableError("reading the binlog of " + state_->url + " was cancelled");
  const unsigned long length = mysql_net_read_packet(native);
  if (length == packet_error) {
    if (state_->is_cancelled) throw UnavailableError("reading the binlog of " + state_->url + " was cancelled");
    state_->raise("reading the binlog of " + state_->url);
  }
  const auto* const bytes = reinterpret_cast<const char*>(native->net.read_pos);
  const auto status = length == 0 ? 0xfeu : static_cast<unsigned char>(bytes[0]);
  if (status == 0xfe && length < 9) {
    throw UnavailableError("reading the binlog of " + state_->url + ": the server has ended the stream");
  }
  if (status != 0) {
    throw BinlogError(Trouble::malformed,
                      "reading the binlog of " + state_->url + ": a packet begins with " + std::to_string(status));
  }
  return {bytes + 1, length - 1};
}

void Stream::cancel() noexcept {
  state_->is_cancelled = true;
  const auto socket = mysql_get_socket(state_->connection.get());
  if (socket >= 0) ::shutdown(socket, SHUT_RDWR);
}

}  // namespace oncemark::binlog
