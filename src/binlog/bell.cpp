#include <oncemark/binlog/bell.hpp>

#include <atomic>
#include <optional>
#include <set>
#include <stop_token>
#include <utility>

#include <oncemark/core/backoff.hpp>
#include <oncemark/core/error.hpp>
#include <oncemark/core/id.hpp>
#include <oncemark/core/loop.hpp>
#include <oncemark/observe/log.hpp>

#include "binlog/decoder.hpp"
#include "binlog/group_reader.hpp"
#include "binlog/outbox_reader.hpp"
#include "binlog/stream.hpp"

namespace oncemark::binlog {
namespace {

using std::chrono::milliseconds;

constexpr Backoff kTrouble{.initial = milliseconds(250), .factor = 2.0, .cap = milliseconds(30'000), .jitter = 0.2};

}  // namespace

struct Bell::State {
  State(mysql::Pool& db, std::function<void(const std::string&)> callback, std::uint32_t id)
      : pool(db), ring(std::move(callback)), server_id(id) {}

  milliseconds work(const std::stop_token& stop) noexcept;
  void listen(const std::stop_token& stop);

  mysql::Pool& pool;
  const std::function<void(const std::string&)> ring;
  const std::uint32_t server_id;
  std::atomic<bool> is_listening{false};
  int troubles = 0;          // in a row
  std::optional<Loop> loop;  // last: its thread uses all of the above
};

milliseconds Bell::State::work(const std::stop_token& stop) noexcept {
  try {
    listen(stop);
    return milliseconds::zero();
  } catch (...) {
    is_listening = false;
    if (stop.stop_requested()) return milliseconds::zero();
    const ErrorSummary error = summarize_current_exception();
    log(troubles == 0 ? LogLevel::warn : LogLevel::debug,
        "the binlog bell is silent, and will listen again; rows are found by polling meanwhile",
        {{"error", error.error_class}, {"text", error.text}});
    return delay_after(kTrouble, ++troubles, random_token());
  }
}

void Bell::State::listen(const std::stop_token& stop) {
  ServerFacts facts;
  Place end;
  {
    const mysql::Pool::Lease connection = pool.acquire();
    facts = ask_server(*connection);
    check_outbox_columns(*connection);
    end = ask_end(*connection, facts);
  }
  end.gtids.clear();  // the place is of this very server
  Stream stream(pool.options(), facts, end, {.server_id = server_id});
  const std::stop_callback cancel(stop, [&stream] { stream.cancel(); });

  const std::string& schema = pool.options().schema;
  OutboxReader outbox;
  std::set<std::string, std::less<>> relays;
  GroupReader groups({.rows =
                          [&](const RowsEvent& event) {
                            if (event.operation == Operation::insert) outbox.note_relays(event, relays);
                          },
                      .statement = [](const Query&) {},
                      .end =
                          [&](const GroupEnd& ended) {
                            if (ended.outcome == Outcome::committed) {
                              for (const std::string& relay : relays) ring(relay);
                            }
                            relays.clear();
                          }});
  Decoder decoder([&](std::string_view in, std::string_view table) { return table == kOutboxTable && in == schema; });
  while (!stop.stop_requested()) {
    decoder.decode(stream.read(), [&](const EventHeader& header, const Event& event) { groups.take(header, event); });
    if (!is_listening.exchange(true)) troubles = 0;
  }
}

Bell::Bell(mysql::Pool& pool, std::function<void(const std::string&)> ring, std::uint32_t server_id)
    : state_(std::make_unique<State>(pool, std::move(ring), server_id)) {
  state_->loop.emplace([state = state_.get()](const std::stop_token& stop) { return state->work(stop); });
}

Bell::~Bell() { state_->loop->stop(); }

bool Bell::is_listening() const noexcept { return state_->is_listening; }

}  // namespace oncemark::binlog
