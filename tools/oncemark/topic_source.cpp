#include "topic_source.hpp"

#include <oncemark/kafka/errors.hpp>

namespace oncemark::tools {

using dead_letter::Provenance;
using namespace std::chrono_literals;

std::vector<kafka::LogRange> TopicSource::ranges(const std::string& topic,
                                                 const std::vector<std::int32_t>& partitions) const {
  return kafka::ranges_of(settings_.kafka.brokers, topic, partitions, settings_.kafka.properties,
                          settings_.kafka.password_file);
}

kafka::LogReader TopicSource::reader(std::vector<kafka::LogRange> ranges) const {
  return kafka::LogReader(settings_.kafka.brokers, std::move(ranges), settings_.kafka.properties,
                          settings_.kafka.password_file);
}

std::optional<Record> TopicSource::find(const Position& position) const {
  std::vector<kafka::LogRange> wanted = ranges(position.topic, {position.partition});
  if (position.offset < wanted.front().next || position.offset >= wanted.front().end) return std::nullopt;
  wanted.front().next = position.offset;
  wanted.front().end = position.offset + 1;
  kafka::LogReader one = reader(wanted);
  while (!one.is_done()) {
    for (Record& record : one.read(500ms, 1)) {
      if (record.position == position) return std::move(record);
    }
  }
  return std::nullopt;
}

std::optional<Record> TopicSource::behind(const Provenance& pointer) const {
  if (!pointer.topic || !pointer.partition || !pointer.offset) return std::nullopt;
  try {
    return find({*pointer.topic, *pointer.partition, *pointer.offset});
  } catch (const kafka::KafkaError& error) {
    if (error.kind() == ErrorKind::unavailable) throw;
    return std::nullopt;  // the topic is gone, or has fewer partitions
  }
}

Json provenance_json(const Provenance& found) {
  const auto text = [](const std::optional<std::string>& value) { return value ? to_json(Bytes(*value)) : Json(); };
  const auto number = [](const auto& value) { return value ? Json(*value) : Json(); };
  const auto time = [](const std::optional<Time>& value) { return value ? to_json(*value) : Json(); };
  return {{"family", to_string(found.family)},
          {"origin",
           {{"topic", text(found.topic)},
            {"partition", number(found.partition)},
            {"offset", number(found.offset)},
            {"timestamp", time(found.timestamp)},
            {"group", text(found.group)}}},
          {"error", {{"class", text(found.error_class)}, {"text", text(found.error_text)}}},
          {"attempts", number(found.attempts)},
          {"replays", number(found.replays)},
          {"pointer", found.is_pointer},
          {"unreadable", found.unreadable}};
}

}  // namespace oncemark::tools
