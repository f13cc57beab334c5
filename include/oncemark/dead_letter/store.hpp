#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <oncemark/message/message.hpp>
#include <oncemark/mysql/pool.hpp>
#include <oncemark/mysql/transaction.hpp>

namespace oncemark::dead_letter {

/// Where a letter stands: dead → replaying → replayed (done, or dead again in the next life).
enum class LetterState { dead, replaying, replayed, resolved, archived, discarded };

[[nodiscard]] std::string_view to_string(LetterState state) noexcept;
/// Throws MisuseError for an unknown name.
[[nodiscard]] LetterState parse_letter_state(std::string_view name);

/// A dead letter: the whole record, and how it failed.
struct Letter {
  std::uint64_t id = 0;  // the operators' handle
  std::string consumer = {};
  std::string group = {};
  std::string dlq_topic = {};
  LetterState state = LetterState::dead;
  Message message = {};  // as its handler last had it; life and business key are the letter's
  std::uint32_t attempts = 0;
  std::string error_class = {};  // of the last failure
  std::string error_text = {};
  std::string stage = {};
  std::string fingerprint = {};
  std::string first_error_class = {};  // of the first failure · empty: a library that did not keep it wrote the letter
  std::string first_error_text = {};
  Time first_failed_at{};
  Time died_at{};
};

/// Which letters; every field that is set must match.
///
/// Errors:  functions that take one throw MisuseError for a consumer or topic that can be none (other characters than
///          [A-Za-z0-9._-]), or a fingerprint that is not 4 to 16 hex digits.
struct Selection {
  std::optional<std::string> consumer = {};
  std::optional<std::string> topic = {};        // origin topic
  std::optional<std::string> fingerprint = {};  // 4 to 16 hex digits: a prefix
  std::optional<std::string> error_class = {};
  std::optional<std::string> message_id = {};
  std::optional<std::uint64_t> id = {};
  std::optional<Time> died_since = {};                   // this moment included
  std::optional<Time> died_until = {};                   // this moment excluded
  std::optional<LetterState> state = LetterState::dead;  // nothing: any
  std::uint64_t after_id = 0;                            // only letters with a higher id
  std::uint64_t last_id = UINT64_MAX;                    // none with a higher id
  std::optional<std::string> group = {};                 // Kafka group that failed
  std::optional<std::string> error_text = {};            // contained in the error text, byte by byte
  std::optional<std::string> key_glob = {};              // matches the whole record key: * any bytes, ? one byte
  std::optional<std::int32_t> partition = {};            // of the origin
  std::int64_t first_offset = 0;                         // of the origin, included
  std::int64_t last_offset = INT64_MAX;                  // of the origin, included
  std::uint32_t min_attempts = 0;
  std::uint32_t max_attempts = UINT32_MAX;
  std::uint32_t min_replays = 0;  // how often the message was replayed before: its life − 1
  std::uint32_t max_replays = UINT32_MAX;
};

enum class Detail { summary, with_record };

/// What a selection cannot say: asked for each letter that it selects.
struct LetterFilter {
  std::function<bool(const Letter&)> accepts = {};  // empty: all
  Detail needs = Detail::summary;                   // what it looks at
};

/// One line of the overview: letters of one consumer and topic.
struct LetterTopic {
  std::string consumer = {};
  std::string origin_topic = {};
  std::string dlq_topic = {};
  std::uint64_t dead = 0;
  std::uint64_t replaying = 0;
  std::uint64_t other = 0;
  std::optional<Time> oldest = {};  // of those in state dead
  std::string top_error = {};       // most frequent error class among them
  std::uint64_t top_error_count = 0;
};

/// Letters that failed alike.
struct LetterGroup {
  std::string fingerprint = {};
  std::uint64_t letters = 0;
  Time first_died_at{};
  Time last_died_at{};
  std::string error_class = {};  // of the newest
  std::string error_text = {};
};

/// Adds a letter in the caller's transaction; part of the transition to `dead`.
void insert_letter(mysql::Transaction& tx, const Letter& letter);

enum class Order { oldest_first, newest_first };
/// Reads letters by id; at most `limit`. With key, payload and headers only if `with_record`.
[[nodiscard]] std::vector<Letter> find_letters(mysql::Transaction& tx, const Selection& selection, std::size_t limit,
                                               Detail detail, Order order = Order::oldest_first);
/// Letters by their ids, with their records.
struct Fetched {
  std::vector<Letter> letters = {};  // in the order of the ids; those that are gone are left out
  std::size_t ids = 0;               // how many of the ids that covers, from the first on
};
/// As many as have at most `max_bytes` of payload and headers together; at least one.
[[nodiscard]] Fetched fetch_letters(mysql::Transaction& tx, std::span<const std::uint64_t> ids, std::size_t max_bytes);
[[nodiscard]] std::optional<Letter> find_letter(mysql::Transaction& tx, std::uint64_t id);

/// By fingerprint, the largest group first.
[[nodiscard]] std::vector<LetterGroup> letter_groups(mysql::Transaction& tx, const Selection& selection,
                                                     std::size_t limit);
/// The same of those that the filter accepts, too; it looks at each letter, page by page.
[[nodiscard]] std::vector<LetterGroup> letter_groups(mysql::Pool& pool, const Selection& selection,
                                                     const LetterFilter& filter, std::size_t limit);
/// By consumer and topics; the one with most dead letters first.
[[nodiscard]] std::vector<LetterTopic> letter_topics(mysql::Transaction& tx);

}  // namespace oncemark::dead_letter
