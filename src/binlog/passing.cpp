#include <oncemark/binlog/passing.hpp>

#include <oncemark/core/error.hpp>

namespace oncemark::binlog {

std::string append_in_passing(mysql::Transaction& tx, const outbox::Draft& draft) {
  if (draft.delay.count() != 0) {
    throw PermanentError("outbox draft: delay is " + std::to_string(draft.delay.count()) +
                         " ms; a row that is removed at once cannot wait: use outbox::append()");
  }
  std::string id = outbox::append(tx, draft);
  tx.execute("DELETE FROM outbox_message WHERE id = LAST_INSERT_ID()");
  return id;
}

}  // namespace oncemark::binlog
