#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <oncemark/dead_letter/topic_replay.hpp>

namespace oncemark::dead_letter {

/// The form in which an order and its progress lie in replay_job.selection: as a selection does, names and values.
[[nodiscard]] std::string encode_topic_order(const TopicOrder& order, const std::vector<TopicProgress>& progress);
[[nodiscard]] std::pair<TopicOrder, std::vector<TopicProgress>> decode_topic_order(std::string_view text);

/// What the server's lock for jobs of a dead-letter topic is about, where others have a consumer.
[[nodiscard]] std::string job_scope(const std::string& topic);

}  // namespace oncemark::dead_letter
