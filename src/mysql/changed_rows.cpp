#include "mysql/changed_rows.hpp"

#include <oncemark/core/error.hpp>

namespace oncemark::mysql {

void require_changed_rows(Session& session) {
  const std::uint64_t affected = session.execute("UPDATE oncemark_schema SET name = name WHERE version = 1", {});
  session.control("ROLLBACK");
  if (affected == 0) return;
  throw MisuseError(
      "the connection counts found rows instead of changed ones, so duplicates cannot be told from fresh messages: "
      "turn CLIENT_FOUND_ROWS off in the proxy between this program and the server");
}

}  // namespace oncemark::mysql
