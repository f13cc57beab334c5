#include <oncemark/inbox/batch_dedup.hpp>

#include <utility>

#include <oncemark/core/error.hpp>

namespace oncemark::inbox {
namespace {

DedupOptions checked(DedupOptions options) {
  if (options.effects == Effects::outside) {
    throw ConfigError("DedupOptions::effects",
                      "DedupOptions::effects is outside; a batch is undone and repeated as a whole, which an effect "
                      "elsewhere cannot be: use inbox::Dedup for it");
  }
  return options;
}

}  // namespace

BatchDedup::BatchDedup(mysql::Pool& pool, DedupOptions options, Effect effect, Metrics& metrics)
    : dedup_(pool, checked(std::move(options)), nullptr, metrics) {
  dedup_.batch_effect_ = std::move(effect);
}

BatchDedup::BatchDedup(Store& store, DedupOptions options, Effect effect, Metrics& metrics)
    : dedup_(store, checked(std::move(options)), nullptr, metrics) {
  dedup_.batch_effect_ = std::move(effect);
}

}  // namespace oncemark::inbox
