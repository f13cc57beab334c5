// topics.cpp: makes the demo's topics, and tells how much is on them.
//
//   topics create TOPIC PARTITIONS
//   topics look GROUP TOPIC...      one line a topic: name, records, records that the group has not committed yet
#include <iostream>

#include <oncemark/oncemark.hpp>

#include "../environment.hpp"
#include "arguments.hpp"

namespace om = oncemark;

namespace {

void look(om::kafka::Admin& admin, const std::string& group, const std::string& topic) {
  std::int64_t records = 0;
  std::int64_t ahead = 0;
  const auto info = admin.describe(topic);
  for (std::int32_t number = 0; info && number < info->partitions; ++number) {
    const om::TopicPartition partition{topic, number};
    const auto marks = admin.watermarks(partition);
    const std::int64_t committed = admin.committed(group, {partition}).at(0).offset;
    records += marks.high - marks.low;
    ahead += marks.high - std::max(committed, marks.low);
  }
  std::cout << topic << '\t' << records << '\t' << ahead << '\n';
}

}  // namespace

int main(int argc, char** argv) try {
  const auto words = demo::Arguments(argc, argv, {}).words();
  om::kafka::Admin admin(example::brokers());
  if (words.size() == 3 && words[0] == "create") {
    admin.create({{.name = words[1], .partitions = std::stoi(words[2])}});
  } else if (words.size() > 2 && words[0] == "look") {
    for (std::size_t i = 2; i < words.size(); ++i) look(admin, words[1], words[i]);
  } else {
    throw om::MisuseError("usage: topics create TOPIC PARTITIONS | topics look GROUP TOPIC...");
  }
} catch (const std::exception& error) {
  om::log(om::LogLevel::error, error.what());
  return 1;
}
