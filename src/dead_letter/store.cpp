#include <oncemark/dead_letter/store.hpp>

#include <algorithm>
#include <array>
#include <map>
#include <tuple>
#include <unordered_map>
#include <utility>

#include <oncemark/core/error.hpp>
#include <oncemark/message/codec.hpp>
#include <oncemark/observe/log.hpp>

#include "dead_letter/selection.hpp"
#include "mysql/in_list.hpp"

namespace oncemark::dead_letter {
namespace {

constexpr std::array<std::pair<LetterState, std::string_view>, 6> kStates{{
    {LetterState::dead, "dead"},
    {LetterState::replaying, "replaying"},
    {LetterState::replayed, "replayed"},
    {LetterState::resolved, "resolved"},
    {LetterState::archived, "archived"},
    {LetterState::discarded, "discarded"},
}};

constexpr std::string_view kSummary =
    "id, consumer, identity, life, state, message_id, origin_group, origin_topic, origin_partition, origin_offset, "
    "origin_timestamp, dlq_topic, event_time, attempts, error_class, error_text, error_stage, fingerprint, "
    "first_error_class, first_error, first_failed_at, died_at";
constexpr std::string_view kRecord = ", record_key, payload, headers";

Message read_message(const mysql::Row& row, Detail detail) {
  Message message;
  message.id = row.get<std::string>("message_id");
  message.business_key = row.get<std::string>("identity");
  message.topic = row.get<std::string>("origin_topic");
  message.event_time = row.get<Time>("event_time");
  message.origin = {.topic = message.topic,
                    .partition = row.get<std::int32_t>("origin_partition"),
                    .offset = row.get<std::int64_t>("origin_offset")};
  message.origin_timestamp = row.get<Time>("origin_timestamp");
  message.read_at = message.origin;
  message.attempt = row.get<std::uint32_t>("attempts");
  message.life = row.get<std::uint32_t>("life");
  message.has_id = message.id != coordinates_identity(message.origin, message.origin_timestamp);
  if (detail == Detail::with_record) {
    message.key = row.get<Bytes>("record_key");
    message.payload = row.get<Bytes>("payload");
    message.headers = decode_headers(row.get<std::string>("headers"));
  }
  return message;
}

Letter read_letter(const mysql::Row& row, Detail detail) {
  return {.id = row.get<std::uint64_t>("id"),
          .consumer = row.get<std::string>("consumer"),
          .group = row.get<std::string>("origin_group"),
          .dlq_topic = row.get<std::string>("dlq_topic"),
          .state = parse_letter_state(row.get<std::string>("state")),
          .message = read_message(row, detail),
          .attempts = row.get<std::uint32_t>("attempts"),
          .error_class = row.get<std::string>("error_class"),
          .error_text = row.get<std::string>("error_text"),
          .stage = row.get<std::string>("error_stage"),
          .fingerprint = row.get<std::string>("fingerprint"),
          .first_error_class = row.get<std::optional<std::string>>("first_error_class").value_or(""),
          .first_error_text = row.get<std::optional<std::string>>("first_error").value_or(""),
          .first_failed_at = row.get<Time>("first_failed_at"),
          .died_at = row.get<Time>("died_at")};
}

}  // namespace

std::string_view to_string(LetterState state) noexcept {
  for (const auto& [value, name] : kStates) {
    if (value == state) return name;
  }
  return "unknown";
}

LetterState parse_letter_state(std::string_view name) {
  std::string known;
  for (const auto& [value, text] : kStates) {
    if (text == name) return value;
    known += known.empty() ? "" : ", ";
    known += text;
  }
  throw MisuseError("\"" + printable(name, 40) + "\" is no state of a dead letter; those are " + known);
}

void insert_letter(mysql::Transaction& tx, const Letter& letter) {
  const Message& message = letter.message;
  tx.execute(
      "INSERT INTO dead_letter (consumer, identity, life, state, message_id, origin_group, origin_topic, "
      "origin_partition, origin_offset, origin_timestamp, dlq_topic, record_key, payload, headers, event_time, "
      "attempts, error_class, error_text, error_stage, fingerprint, first_error_class, first_error, first_failed_at, "
      "died_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
      letter.consumer, message.business_key, message.life, to_string(letter.state), message.id, letter.group,
      message.origin.topic, message.origin.partition, message.origin.offset, message.origin_timestamp, letter.dlq_topic,
      message.key, message.payload, encode_headers(message.headers), message.event_time, letter.attempts,
      letter.error_class, letter.error_text, letter.stage, letter.fingerprint, letter.first_error_class,
      letter.first_error_text, letter.first_failed_at, letter.died_at);
}

std::vector<Letter> find_letters(mysql::Transaction& tx, const Selection& selection, std::size_t limit, Detail detail,
                                 Order order) {
  Condition condition = condition_of(selection);
  std::string sql = "SELECT ";
  sql += kSummary;
  if (detail == Detail::with_record) sql += kRecord;
  sql += " FROM dead_letter" + condition.sql + " ORDER BY id";
  if (order == Order::newest_first) sql += " DESC";
  sql += " LIMIT ?";
  condition.params.emplace_back(limit);

  std::vector<Letter> letters;
  for (const mysql::Row& row : tx.query_with(sql, condition.params)) letters.push_back(read_letter(row, detail));
  return letters;
}

Fetched fetch_letters(mysql::Transaction& tx, std::span<const std::uint64_t> ids, std::size_t max_bytes) {
  Fetched fetched;
  if (ids.empty()) return fetched;
  // How large they are, before anything large is fetched.
  std::vector<mysql::Param> params;
  const std::string list = mysql::in_list(ids, params);
  std::unordered_map<std::uint64_t, std::size_t> sizes;
  for (const mysql::Row& row : tx.query_with(
           "SELECT id, COALESCE(LENGTH(payload), 0) + LENGTH(headers) FROM dead_letter WHERE id IN " + list, params)) {
    sizes.emplace(row.get<std::uint64_t>(0), row.get<std::size_t>(1));
  }
  std::size_t bytes = 0;
  for (; fetched.ids < ids.size(); ++fetched.ids) {
    const auto size = sizes.find(ids[fetched.ids]);
    if (size == sizes.end()) continue;
    if (bytes > 0 && bytes + size->second > max_bytes) break;
    bytes += size->second + 1;
  }
  params.clear();
  const std::string fitting = mysql::in_list(ids.first(fetched.ids), params);
  std::unordered_map<std::uint64_t, std::size_t> places;
  for (std::size_t i = 0; i < fetched.ids; ++i) places.emplace(ids[i], i);
  for (const mysql::Row& row : tx.query_with(
           "SELECT " + std::string(kSummary) + std::string(kRecord) + " FROM dead_letter WHERE id IN " + fitting,
           params)) {
    fetched.letters.push_back(read_letter(row, Detail::with_record));
  }
  std::ranges::sort(fetched.letters, {}, [&](const Letter& letter) { return places.at(letter.id); });
  return fetched;
}

std::optional<Letter> find_letter(mysql::Transaction& tx, std::uint64_t id) {
  auto found = find_letters(tx, {.id = id, .state = std::nullopt}, 1, Detail::with_record);
  if (found.empty()) return std::nullopt;
  return std::move(found.front());
}

std::vector<LetterGroup> letter_groups(mysql::Transaction& tx, const Selection& selection, std::size_t limit) {
  Condition condition = condition_of(selection);
  condition.params.emplace_back(limit);
  std::vector<LetterGroup> groups;
  for (const mysql::Row& row : tx.query_with(
           "SELECT alike.fingerprint, alike.letters, alike.first_died_at, alike.last_died_at, newest.error_class, "
           "newest.error_text FROM (SELECT fingerprint, COUNT(*) AS letters, MIN(died_at) AS first_died_at, "
           "MAX(died_at) AS last_died_at, MAX(id) AS newest_id FROM dead_letter" +
               condition.sql +
               " GROUP BY fingerprint ORDER BY letters DESC, fingerprint LIMIT ?) AS alike "
               "JOIN dead_letter AS newest ON newest.id = alike.newest_id "
               "ORDER BY alike.letters DESC, alike.fingerprint",
           condition.params)) {
    groups.push_back({.fingerprint = row.get<std::string>(0),
                      .letters = row.get<std::uint64_t>(1),
                      .first_died_at = row.get<Time>(2),
                      .last_died_at = row.get<Time>(3),
                      .error_class = row.get<std::string>(4),
                      .error_text = row.get<std::string>(5)});
  }
  return groups;
}

std::vector<LetterTopic> letter_topics(mysql::Transaction& tx) {
  std::vector<LetterTopic> topics;
  std::map<std::tuple<std::string, std::string, std::string>, std::size_t> places;
  for (const mysql::Row& row :
       tx.query("SELECT consumer, origin_topic, dlq_topic, COUNT(IF(state = 'dead', 1, NULL)) AS dead, "
                "COUNT(IF(state = 'replaying', 1, NULL)), COUNT(IF(state IN ('dead', 'replaying'), NULL, 1)), "
                "MIN(IF(state = 'dead', died_at, NULL)) FROM dead_letter "
                "GROUP BY consumer, origin_topic, dlq_topic ORDER BY dead DESC, consumer, origin_topic, dlq_topic")) {
    topics.push_back({.consumer = row.get<std::string>(0),
                      .origin_topic = row.get<std::string>(1),
                      .dlq_topic = row.get<std::string>(2),
                      .dead = row.get<std::uint64_t>(3),
                      .replaying = row.get<std::uint64_t>(4),
                      .other = row.get<std::uint64_t>(5),
                      .oldest = row.get<std::optional<Time>>(6)});
    const LetterTopic& topic = topics.back();
    places[{topic.consumer, topic.origin_topic, topic.dlq_topic}] = topics.size() - 1;
  }
  // The most frequent error comes first, so the first one of a topic is its top error.
  for (const mysql::Row& row :
       tx.query("SELECT consumer, origin_topic, dlq_topic, error_class, COUNT(*) AS letters FROM dead_letter "
                "WHERE state = 'dead' GROUP BY consumer, origin_topic, dlq_topic, error_class "
                "ORDER BY letters DESC, error_class")) {
    const auto place = places.find({row.get<std::string>(0), row.get<std::string>(1), row.get<std::string>(2)});
    if (place == places.end() || topics[place->second].top_error_count > 0) continue;  // died between the two queries
    topics[place->second].top_error = row.get<std::string>(3);
    topics[place->second].top_error_count = row.get<std::uint64_t>(4);
  }
  return topics;
}

}  // namespace oncemark::dead_letter
