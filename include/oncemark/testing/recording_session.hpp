#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include <oncemark/mysql/errors.hpp>
#include <oncemark/mysql/row.hpp>
#include <oncemark/mysql/session.hpp>

namespace oncemark::testing {

/// A mysql::Session without a server: it records what is sent and answers from a script. For unit tests of effects.
///
/// Shape:   an answer is given to the first statement, from then on, whose text contains its fragment, and is used
///          up by it; answers for the same statement go out in the order they were scripted. Without one, execute()
///          affects one row, query() finds none and control() succeeds. Nothing is parsed and nothing is stored.
/// Threads: one at a time.
/// Errors:  what will_fail() was given.
///
///   RecordingSession session;
///   session.will_return("FROM stock", rows({"left"}, {{std::int64_t{3}}}));
///   mysql::UnitOfWork unit(session);
///   reserve(unit.tx(), order);
///   unit.commit();
///   EXPECT_EQ(session.texts().back(), "COMMIT");
class RecordingSession final : public mysql::Session {
 public:
  /// A parameter as it was bound; bytes are copied.
  using Value = std::variant<std::nullptr_t, std::int64_t, std::uint64_t, double, std::string, Time>;
  struct Sent {
    std::string sql;
    std::vector<Value> params;
  };

  void will_affect(std::string fragment, std::uint64_t rows) {
    answers_.push_back({std::move(fragment), rows, {}, nullptr});
  }
  void will_return(std::string fragment, mysql::Rows rows) {
    answers_.push_back({std::move(fragment), 0, std::move(rows), nullptr});
  }
  /// As the server would: mysql::make_error() gives the error its kind and text. 2006 and 2013 break nothing here;
  /// script every later statement too if that matters.
  void will_fail(std::string fragment, int code, std::string sqlstate = "HY000", std::string text = "scripted") {
    answers_.push_back({std::move(fragment), 0, {}, [=](std::string_view sql) {
                          throw mysql::make_error(sql, code, sqlstate, text);
                        }});
  }
  void will_throw(std::string fragment, std::function<void()> raise) {
    answers_.push_back({std::move(fragment), 0, {}, [raise = std::move(raise)](std::string_view) { raise(); }});
  }

  std::uint64_t execute(std::string_view sql, std::span<const mysql::Param> params) override {
    return answer(sql, params, 1).affected;
  }
  mysql::Rows query(std::string_view sql, std::span<const mysql::Param> params) override {
    return answer(sql, params, 0).rows;
  }
  void control(std::string_view sql) override { (void)answer(sql, {}, 0); }

  /// Everything that was sent, in order, START TRANSACTION and COMMIT included.
  [[nodiscard]] const std::vector<Sent>& sent() const noexcept { return sent_; }
  [[nodiscard]] std::vector<std::string> texts() const {
    std::vector<std::string> texts;
    for (const Sent& statement : sent_) texts.push_back(statement.sql);
    return texts;
  }
  /// Whether every scripted answer was asked for.
  [[nodiscard]] bool is_played() const noexcept { return answers_.empty(); }

 private:
  struct Answer {
    std::string fragment;
    std::uint64_t affected = 0;
    mysql::Rows rows;
    std::function<void(std::string_view)> raise;
  };

  static Value copy(const mysql::Param& param) {
    return std::visit(
        [](const auto& value) -> Value {
          if constexpr (std::is_same_v<std::decay_t<decltype(value)>, std::string_view>) {
            return std::string(value);
          } else {
            return value;
          }
        },
        param.value());
  }

  Answer answer(std::string_view sql, std::span<const mysql::Param> params, std::uint64_t affected) {
    Sent& statement = sent_.emplace_back(Sent{std::string(sql), {}});
    for (const mysql::Param& param : params) statement.params.push_back(copy(param));
    const auto scripted = std::find_if(answers_.begin(), answers_.end(), [&](const Answer& candidate) {
      return sql.find(candidate.fragment) != std::string_view::npos;
    });
    if (scripted == answers_.end()) return {{}, affected, {}, nullptr};
    Answer found = std::move(*scripted);
    answers_.erase(scripted);
    if (found.raise) found.raise(sql);
    return found;
  }

  std::vector<Sent> sent_;
  std::list<Answer> answers_;
};

/// Rows for RecordingSession::will_return(): column names, then one list of values a row.
[[nodiscard]] inline mysql::Rows rows(const std::vector<std::string>& names,
                                      const std::vector<std::vector<mysql::Row::Value>>& values) {
  const auto shared = std::make_shared<const mysql::Row::Names>(names);
  mysql::Rows rows;
  for (const auto& row : values) rows.emplace_back(shared, row);
  return rows;
}

}  // namespace oncemark::testing
