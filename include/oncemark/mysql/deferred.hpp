#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <oncemark/mysql/row_values.hpp>

namespace oncemark::mysql {

class Transaction;

/// A statement whose rows Transaction::defer() gathers, so that one round trip carries the rows of many messages.
///
/// Shape:   made once and kept, like a prepared statement; copies are the same statement.
/// Threads: immutable.
/// Errors:  MisuseError where Transaction::insert_rows() or update_rows() would throw it, at the flush.
/// Source:  docs/handlers.md.
class DeferredStatement final {
 public:
  /// What becomes of rows with the same key values before they are sent.
  enum class Repeated {
    summed,  ///< the other values, which must be numbers, are added up
    last     ///< the last one counts
  };

  /// `head` VALUES (…), (…) `tail`: see Transaction::insert_rows(). The rows are sent in the order they came in.
  [[nodiscard]] static DeferredStatement insert(std::string head, std::string tail = {});
  /// See Transaction::update_rows(). The first `keys` columns name the row to change. The rows are sent sorted by
  /// them, so that transactions lock in one order.
  [[nodiscard]] static DeferredStatement update(std::string sql, std::vector<std::string> columns, std::size_t keys,
                                                Repeated repeated = Repeated::summed);

  /// By what it says, not by which object says it.
  friend bool operator==(const DeferredStatement& a, const DeferredStatement& b) noexcept;

 private:
  friend class DeferredRows;
  struct Text;
  explicit DeferredStatement(std::shared_ptr<const Text> text) : text_(std::move(text)) {}

  std::shared_ptr<const Text> text_;
};

/// The rows that wait in one transaction; Transaction's own.
class DeferredRows final {
 public:
  void add(const DeferredStatement& statement, std::span<const Param> params);
  [[nodiscard]] bool empty() const noexcept { return waiting_.empty(); }
  /// Whether they have grown so large that they are better sent than kept.
  [[nodiscard]] bool is_full() const noexcept;
  /// Sends and forgets them: statement by statement, in the order in which each was first used.
  void send(Transaction& tx);
  void forget() noexcept;

 private:
  struct Waiting {
    DeferredStatement statement;
    RowValues rows;
  };
  std::vector<Waiting> waiting_;  // few: looked through from the front
  std::size_t bytes_ = 0;
};

}  // namespace oncemark::mysql
