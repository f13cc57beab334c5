#include "binlog/feed.hpp"

#include <memory>
#include <utility>

#include <oncemark/observe/log.hpp>

#include "binlog/outbox_reader.hpp"

namespace oncemark::binlog {
namespace {

// What the allocator and the objects take beside the bytes: most of it, for small rows.
constexpr std::size_t kRowOverhead = 700;
constexpr std::size_t kChunkOverhead = 300;
constexpr std::size_t kMostChunks = 20'000;

std::size_t size_of(const outbox::OutboxRow& row) {
  std::size_t bytes = kRowOverhead + row.record.key.size() + row.record.payload.size();
  for (const Header& header : row.record.headers) bytes += header.name.size() + header.value.size();
  return bytes;
}

bool changes_rows(const Query& query) {
  const std::string word = leading_words(query.text, 1);
  return word == "INSERT" || word == "REPLACE" || word == "LOAD" || word == "UPDATE" || word == "WITH";
}

}  // namespace

// Updates and deletes of the outbox are marks, most of them our own, and are left undecoded.
FeedHooks outbox_hooks(const std::string& schema, const std::string& relay, Rows rows) {
  auto reader = std::make_shared<OutboxReader>();
  return {
      .wants = [schema](std::string_view in, std::string_view table) { return table == kOutboxTable && in == schema; },
      .read =
          [reader, relay](const RowsEvent& event, const GroupReader&, const FeedHooks::Push& push) {
            if (event.operation != Operation::insert) return;
            reader->read(event, [&](InsertedRow inserted) {
              if (inserted.is_pending && inserted.relay == relay) push(std::move(inserted.row));
            });
          },
      .needs_scan =
          [relay, rows](const Query& query) {
            if (query.text.find(kOutboxTable) == std::string::npos || !changes_rows(query)) return false;
            const std::string why =
                "a change of outbox_message is in the binlog as a statement and not as rows; set binlog_format to "
                "ROW in every session";
            if (rows == Rows::pass) throw BinlogError(Trouble::unsupported, why);
            log(LogLevel::warn, why + "; its rows are looked for in the table", {{"relay", relay}});
            return true;
          }};
}

Feed::Feed(const mysql::PoolOptions& options, const ServerFacts& facts, const Place& from, FeedHooks hooks,
           FeedOptions feed)
    : hooks_(std::move(hooks)),
      options_(std::move(feed)),
      flavor_(facts.flavor),
      stream_(options, facts, from, options_.stream),
      groups_({.rows = [this](const RowsEvent& event) { rows(event); },
               .statement = [this](const Query& query) { statement(query); },
               .end = [this](const GroupEnd& ended) { end(ended); }}),
      decoder_(hooks_.wants),
      thread_([this] { run(); }) {}

Feed::~Feed() {
  {
    const std::lock_guard lock(mutex_);
    is_stopping_ = true;
  }
  stream_.cancel();
  changed_.notify_all();
  thread_.join();
}

std::vector<Chunk> Feed::next(std::chrono::milliseconds wait, std::size_t most_rows) {
  std::vector<Chunk> chunks;
  {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, wait, [&] { return !ready_.empty() || failure_; });
    if (ready_.empty() && failure_) std::rethrow_exception(failure_);
    for (std::size_t rows = 0; !ready_.empty() && rows < most_rows; ready_.pop_front()) {
      rows += ready_.front().rows.size();
      bytes_ -= ready_.front().bytes;
      chunks.push_back(std::move(ready_.front()));
    }
  }
  changed_.notify_all();
  return chunks;
}

void Feed::run() noexcept {
  try {
    for (;;) {
      decoder_.decode(stream_.read(),
                      [this](const EventHeader& header, const Event& event) { groups_.take(header, event); });
      const std::lock_guard lock(mutex_);
      if (is_stopping_) return;
    }
  } catch (...) {
    const std::lock_guard lock(mutex_);
    failure_ = std::current_exception();
  }
  changed_.notify_all();
}

void Feed::rows(const RowsEvent& event) {
  if (groups_.is_doubtful()) {
    open_.needs_scan = true;
    return;
  }
  hooks_.read(event, groups_, [&](outbox::OutboxRow row) {
    open_.bytes += size_of(row);
    open_.rows.push_back(std::move(row));
    if (open_.bytes >= options_.largest_held) flush();
  });
}

// A session may log statements where the server logs rows.
void Feed::statement(const Query& query) {
  if (hooks_.needs_scan(query)) open_.needs_scan = true;
}

void Feed::end(const GroupEnd& ended) {
  if (ended.outcome == Outcome::open && !open_.rows.empty()) open_.needs_scan = true;
  open_.settles_xa = ended.settles_xa;
  if (ended.outcome != Outcome::committed) {
    open_.rows.clear();
    open_.bytes = 0;
    if (is_flushed_) {
      log(LogLevel::error, "a transaction was rolled back after a part of its rows was sent from the binlog",
          {{"relay", options_.name}, {"place", ended.file + ":" + std::to_string(ended.position)}});
    }
  }
  open_.file = ended.file;
  open_.position = ended.position;
  open_.gtids = GtidSet(flavor_);
  open_.gtids.add(ended.gtid);
  open_.is_at_end = true;
  hand_on(std::exchange(open_, {}));
  is_flushed_ = false;
}

void Feed::flush() {
  open_.file = groups_.file();
  open_.position = groups_.position();
  hand_on(std::exchange(open_, {}));
  is_flushed_ = true;
}

// A group without rows joins the one before it.
void Feed::hand_on(Chunk chunk) {
  chunk.bytes += kChunkOverhead;
  std::unique_lock lock(mutex_);
  if (chunk.rows.empty() && !chunk.needs_scan && !chunk.settles_xa && !ready_.empty() && ready_.back().is_at_end) {
    Chunk& last = ready_.back();
    last.file = std::move(chunk.file);
    last.position = chunk.position;
    last.gtids.add(chunk.gtids);
    return;
  }
  changed_.wait(lock, [&] {
    return is_stopping_ || ready_.empty() || (bytes_ < options_.most_bytes && ready_.size() < kMostChunks);
  });
  bytes_ += chunk.bytes;
  ready_.push_back(std::move(chunk));
  lock.unlock();
  changed_.notify_all();
}

}  // namespace oncemark::binlog
