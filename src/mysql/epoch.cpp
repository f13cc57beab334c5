#include <oncemark/mysql/epoch.hpp>

#include <memory>
#include <string>

#include <oncemark/core/error.hpp>
#include <oncemark/core/id.hpp>

namespace oncemark::mysql {
namespace {

[[noreturn]] void refuse(const std::string& database) {
  throw MisuseError("database " + database + " has no epoch: run `oncemark schema apply`");
}

}  // namespace

std::uint64_t read_epoch(const Pool& pool) {
  const auto connection = pool.connect(pool.options().wait_timeout);
  const Rows rows = connection->query("SELECT epoch FROM oncemark_schema ORDER BY version DESC LIMIT 1", {});
  if (rows.empty()) refuse(pool.options().schema);
  return rows.front().get<std::uint64_t>(0);
}

std::uint64_t draw_epoch(const Pool& pool) {
  const auto connection = pool.connect(pool.options().wait_timeout);
  UnitOfWork unit(*connection);
  const std::uint64_t epoch = draw_epoch(unit.tx());
  unit.commit();
  return epoch;
}

std::uint64_t draw_epoch(Transaction& tx) {
  const std::uint64_t epoch = random_token();
  if (tx.execute("UPDATE oncemark_schema SET epoch = ?", epoch) == 0) {
    refuse(tx.query_row("SELECT DATABASE()")->get<std::string>(0));
  }
  return epoch;
}

}  // namespace oncemark::mysql
