#include <oncemark/mysql/epoch.hpp>

#include <memory>

#include <oncemark/core/error.hpp>
#include <oncemark/core/id.hpp>

namespace oncemark::mysql {
namespace {

[[noreturn]] void refuse(const Pool& pool) {
  throw MisuseError("database " + pool.options().schema + " has no epoch: run `oncemark schema apply`");
}

}  // namespace

std::uint64_t read_epoch(const Pool& pool) {
  const auto connection = pool.connect(pool.options().wait_timeout);
  const Rows rows = connection->query("SELECT epoch FROM oncemark_schema ORDER BY version DESC LIMIT 1", {});
  if (rows.empty()) refuse(pool);
  return rows.front().get<std::uint64_t>(0);
}

std::uint64_t draw_epoch(const Pool& pool) {
  const std::uint64_t epoch = random_token();
  const auto connection = pool.connect(pool.options().wait_timeout);
  UnitOfWork unit(*connection);
  if (unit.tx().execute("UPDATE oncemark_schema SET epoch = ?", epoch) == 0) refuse(pool);
  unit.commit();
  return epoch;
}

}  // namespace oncemark::mysql
