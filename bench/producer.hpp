#pragma once

#include <cstddef>
#include <functional>
#include <string>

#include <oncemark/binlog/passing.hpp>
#include <oncemark/mysql/pool.hpp>
#include <oncemark/outbox/writer.hpp>

#include "consumer.hpp"
#include "workload.hpp"

/// What the programs that fill our outbox have in common.
namespace bench {

inline constexpr std::size_t kWriters = 4;  // a key has one of them, so that its order is the generator's

/// What becomes of a row in the transaction that inserts it.
enum class RowOf { the_table, the_binlog_alone };

/// One message, in a transaction of its own; the header by which the judge knows it is "id".
inline void append(oncemark::mysql::Pool& pool, const std::string& topic, const Item& item,
                   RowOf row = RowOf::the_table, const std::function<void()>& after_commit = {}) {
  pool.transact([&](oncemark::mysql::Transaction& tx) {
    const oncemark::outbox::Draft draft{
        .topic = topic, .key = item.key(), .payload = item.payload(), .headers = {{"id", item.id}}, .id = item.id};
    if (row == RowOf::the_table) {
      oncemark::outbox::append(tx, draft);
    } else {
      oncemark::binlog::append_in_passing(tx, draft);
    }
    if (after_commit) tx.after_commit(after_commit);
  });
}

}  // namespace bench
