#pragma once

#include <cstddef>
#include <exception>
#include <string>
#include <utility>
#include <vector>

#include <oncemark/message/message.hpp>

namespace oncemark::inbox {

/// The fresh messages of one transaction, in log order, as a batch effect receives them.
///
/// Shape:   at least one message; those of one key stand in the order of the log. Duplicates are not among them.
/// Threads: the thread that the effect runs on.
/// Errors:  at() and fail() throw std::out_of_range for an index that is not below size().
class Batch {
 public:
  class const_iterator {
   public:
    using value_type = Message;
    using difference_type = std::ptrdiff_t;
    using reference = const Message&;
    using pointer = const Message*;
    using iterator_category = std::forward_iterator_tag;

    const_iterator() = default;
    explicit const_iterator(const Message* const* place) : place_(place) {}
    reference operator*() const noexcept { return **place_; }
    pointer operator->() const noexcept { return *place_; }
    const_iterator& operator++() noexcept {
      ++place_;
      return *this;
    }
    const_iterator operator++(int) noexcept { return const_iterator(place_++); }
    bool operator==(const const_iterator&) const = default;

   private:
    const Message* const* place_ = nullptr;
  };

  explicit Batch(std::vector<const Message*> messages) : messages_(std::move(messages)), failures_(messages_.size()) {}

  [[nodiscard]] std::size_t size() const noexcept { return messages_.size(); }
  [[nodiscard]] const Message& operator[](std::size_t index) const noexcept { return *messages_[index]; }
  [[nodiscard]] const Message& at(std::size_t index) const { return *messages_.at(index); }
  [[nodiscard]] const_iterator begin() const noexcept { return const_iterator(messages_.data()); }
  [[nodiscard]] const_iterator end() const noexcept { return const_iterator(messages_.data() + messages_.size()); }

  /// Reports that this one failed, and how; the others are committed. It must have no effect in the transaction: leave
  /// it out of the statements. It goes to its next attempt or to the dead letters, as if its handler had thrown.
  template <typename Exception>
  void fail(std::size_t index, Exception failure) {
    failures_.at(index) = std::make_exception_ptr(std::move(failure));
  }
  /// The same with the exception that is being handled.
  void fail(std::size_t index) { failures_.at(index) = std::current_exception(); }

  /// What was reported of each; null where nothing was.
  [[nodiscard]] const std::vector<std::exception_ptr>& failures() const noexcept { return failures_; }

 private:
  std::vector<const Message*> messages_;
  std::vector<std::exception_ptr> failures_;
};

}  // namespace oncemark::inbox
