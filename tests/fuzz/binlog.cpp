#include <algorithm>
#include <stdexcept>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include <oncemark/binlog/errors.hpp>

#include "binlog/decoder.hpp"
#include "binlog/json_binary.hpp"
#include "fuzz/targets.hpp"
#include "unit/binlog/event_bytes.hpp"

namespace oncemark::fuzz {
namespace {

/// Looks at every value, so that a sanitizer does.
void read_rows(const binlog::RowsEvent& rows) {
  const std::vector<bool> all;
  binlog::RowReader reader(rows, all);
  std::size_t seen = 0;
  while (reader.next()) {
    for (const auto* image : {&reader.before(), &reader.after()}) {
      for (const binlog::Field& field : *image) seen += std::string(field.bytes).size() + field.text.size();
    }
    if (reader.after().size() > rows.map->columns.size()) throw std::logic_error("broken: more values than columns");
  }
}

}  // namespace

// Sizes are made to fit and there are no checksums: what is damaged is what lies behind them.
void binlog(std::string_view bytes) {
  binlog::Decoder decoder([](std::string_view, std::string_view) { return true; });
  const auto take = [](const binlog::EventHeader&, const binlog::Event& event) {
    if (const auto* rows = std::get_if<binlog::RowsEvent>(&event)) read_rows(*rows);
  };
  try {
    decoder.decode(binlog::format_description(false), take);
    while (bytes.size() >= 4) {
      const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(bytes[i]); };
      const std::size_t length = byte(2) + byte(3) * std::size_t{256};
      decoder.decode(binlog::event(byte(0), bytes.substr(4, length), false, byte(1)), take);
      bytes.remove_prefix(std::min(4 + length, bytes.size()));
    }
  } catch (const binlog::BinlogError&) {
  }
}

void document(std::string_view bytes) {
  try {
    if (!nlohmann::json::accept(binlog::json_text(bytes))) throw std::logic_error("broken: what is read is JSON");
  } catch (const binlog::BinlogError&) {
  }
}

}  // namespace oncemark::fuzz
