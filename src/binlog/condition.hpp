#pragma once

#include <string>
#include <string_view>

#include <oncemark/binlog/capture.hpp>

namespace oncemark::binlog {

/// One condition of CapturedTable::where, as it is written there.
///
/// Shape:   IMAGE.COLUMN = 'text', <> 'text', IS NULL or IS NOT NULL; IMAGE is before or after. A quote in the text is
///          written twice. As in SQL, NULL neither equals a text nor differs from it; what an image does not have is
///          NULL. Values are compared byte by byte, as Image has them.
/// Threads: a value.
/// Errors:  MisuseError for other texts.
class Condition final {
 public:
  explicit Condition(std::string_view text);

  [[nodiscard]] bool holds(const RowChange& change) const;
  [[nodiscard]] const std::string& column() const noexcept { return column_; }

 private:
  enum class Test { is, is_not, is_null, is_not_null };

  bool of_before_ = false;
  std::string column_;
  Test test_ = Test::is;
  std::string value_;
};

}  // namespace oncemark::binlog
