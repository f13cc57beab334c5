#include <oncemark/mysql/deferred.hpp>

#include <algorithm>
#include <utility>

#include <oncemark/core/error.hpp>
#include <oncemark/mysql/transaction.hpp>

namespace oncemark::mysql {
namespace {

// Of memory, not of the wire: what is sent is split by max_allowed_packet anyway.
constexpr std::size_t kFullBytes = 1 << 20;
constexpr std::size_t kBytesOfValue = 48;

}  // namespace

struct DeferredStatement::Text {
  std::string sql = {};  // of an INSERT its head
  std::string tail = {};
  std::vector<std::string> columns = {};  // of an UPDATE
  std::size_t keys = 0;                   // 0: an INSERT
  Repeated repeated = Repeated::summed;

  bool operator==(const Text&) const = default;
};

DeferredStatement DeferredStatement::insert(std::string head, std::string tail) {
  return DeferredStatement(std::make_shared<const Text>(Text{.sql = std::move(head), .tail = std::move(tail)}));
}

DeferredStatement DeferredStatement::update(std::string sql, std::vector<std::string> columns, std::size_t keys,
                                            Repeated repeated) {
  if (keys == 0 || keys > columns.size()) {
    throw MisuseError("DeferredStatement::update: " + std::to_string(keys) + " key columns of " +
                      std::to_string(columns.size()));
  }
  return DeferredStatement(std::make_shared<const Text>(
      Text{.sql = std::move(sql), .columns = std::move(columns), .keys = keys, .repeated = repeated}));
}

bool operator==(const DeferredStatement& a, const DeferredStatement& b) noexcept {
  return a.text_ == b.text_ || *a.text_ == *b.text_;
}

void DeferredRows::add(const DeferredStatement& statement, std::span<const Param> params) {
  auto found = std::ranges::find(waiting_, statement, &Waiting::statement);
  if (found == waiting_.end()) found = waiting_.insert(waiting_.end(), {statement, {}});
  found->rows.add_row(params);
  for (const Param& param : params) {
    const auto* text = std::get_if<std::string_view>(&param.value());
    bytes_ += kBytesOfValue + (text != nullptr ? text->size() : 0);
  }
}

bool DeferredRows::is_full() const noexcept { return bytes_ > kFullBytes; }

void DeferredRows::send(Transaction& tx) {
  // Taken out first: sending is statements of the transaction, and each of those sends what waits.
  const std::vector<Waiting> waiting = std::exchange(waiting_, {});
  bytes_ = 0;
  for (const auto& [statement, rows] : waiting) {
    const DeferredStatement::Text& text = *statement.text_;
    if (text.keys == 0) {
      tx.insert_rows(text.sql, rows, text.tail);
      continue;
    }
    const std::vector<std::string_view> columns(text.columns.begin(), text.columns.end());
    const bool is_summed = text.repeated == DeferredStatement::Repeated::summed;
    tx.update_rows(text.sql, columns, is_summed ? rows.summed(text.keys) : rows.last(text.keys));
  }
}

void DeferredRows::forget() noexcept {
  waiting_.clear();
  bytes_ = 0;
}

}  // namespace oncemark::mysql
