#pragma once

#include <cstddef>
#include <functional>
#include <type_traits>
#include <utility>

#include <oncemark/core/verdict.hpp>
#include <oncemark/message/message.hpp>
#include <oncemark/mysql/transaction.hpp>

namespace oncemark::inbox {

/// What is to take effect once for each message: a function of the user's that returns nothing, or a Verdict.
///
/// Shape:   any callable of (const Message&, mysql::Transaction&). One that returns something else does not compile:
///          nobody would read it.
/// Threads: as the callable.
/// Errors:  what the callable throws; what a Verdict means, thrown.
class Effect {
 public:
  Effect(std::nullptr_t = nullptr) {}

  template <typename Callable>
  requires(!std::is_same_v<std::remove_cvref_t<Callable>, Effect> &&
           std::is_invocable_v<std::decay_t<Callable>&, const Message&, mysql::Transaction&>)
      Effect(Callable&& callable) {
    using Result = std::invoke_result_t<std::decay_t<Callable>&, const Message&, mysql::Transaction&>;
    static_assert(std::is_void_v<Result> || std::is_same_v<Result, Verdict>,
                  "an effect returns nothing, or an oncemark::Verdict");
    if constexpr (std::is_void_v<Result>) {
      function_ = std::forward<Callable>(callable);
    } else {
      function_ = [inner = std::decay_t<Callable>(std::forward<Callable>(callable))](
                      const Message& message, mysql::Transaction& tx) mutable { inner(message, tx).enforce(); };
    }
  }

  void operator()(const Message& message, mysql::Transaction& tx) const { function_(message, tx); }
  explicit operator bool() const noexcept { return static_cast<bool>(function_); }

 private:
  std::function<void(const Message&, mysql::Transaction&)> function_ = {};
};

}  // namespace oncemark::inbox
