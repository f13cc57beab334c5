#include "dead_letter/frozen.hpp"

#include <algorithm>
#include <string>

#include <oncemark/core/error.hpp>

namespace oncemark::dead_letter {
namespace {

constexpr std::size_t kTogether = 10'000;  // letters in a row of the table
constexpr std::size_t kWidth = 8;

std::string encode(std::span<const std::uint64_t> letters) {
  std::string bytes;
  bytes.reserve(letters.size() * kWidth);
  for (const std::uint64_t id : letters) {
    for (int shift = 56; shift >= 0; shift -= 8) bytes += static_cast<char>(id >> shift & 0xff);
  }
  return bytes;
}

std::uint64_t decode_one(std::string_view bytes) {
  std::uint64_t id = 0;
  for (const char byte : bytes) id = id << 8 | static_cast<unsigned char>(byte);
  return id;
}

}  // namespace

void write_frozen(mysql::Transaction& tx, std::uint64_t job_id, std::span<const std::uint64_t> letters) {
  for (std::size_t first = 0; first < letters.size(); first += kTogether) {
    tx.execute("INSERT INTO replay_selection (job_id, first, letters) VALUES (?, ?, ?)", job_id, first,
               encode(letters.subspan(first, std::min(kTogether, letters.size() - first))));
  }
}

std::vector<std::uint64_t> read_frozen(mysql::Transaction& tx, std::uint64_t job_id, std::uint64_t place) {
  std::vector<std::uint64_t> letters;
  const auto row = tx.query_row(
      "SELECT first, letters FROM replay_selection WHERE job_id = ? AND first <= ? ORDER BY first DESC LIMIT 1", job_id,
      place);
  if (!row) return letters;
  const std::string bytes = row->get<std::string>(1);
  const std::size_t skipped = static_cast<std::size_t>(place - row->get<std::uint64_t>(0)) * kWidth;
  for (std::size_t at = skipped; at + kWidth <= bytes.size(); at += kWidth) {
    letters.push_back(decode_one(std::string_view(bytes).substr(at, kWidth)));
  }
  return letters;
}

void remove_frozen(mysql::Transaction& tx, std::uint64_t job_id) {
  tx.execute("DELETE FROM replay_selection WHERE job_id = ?", job_id);
}

}  // namespace oncemark::dead_letter
