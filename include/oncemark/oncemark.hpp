#pragma once

/// Everything a service needs, in one include. The library itself never includes this header.

#include <oncemark/consume/failure.hpp>
#include <oncemark/consume/handler.hpp>
#include <oncemark/consume/runner.hpp>
#include <oncemark/core/backoff.hpp>
#include <oncemark/core/bytes.hpp>
#include <oncemark/core/clock.hpp>
#include <oncemark/core/error.hpp>
#include <oncemark/core/id.hpp>
#include <oncemark/core/loop.hpp>
#include <oncemark/core/signals.hpp>
#include <oncemark/dead_letter/replay.hpp>
#include <oncemark/dead_letter/router.hpp>
#include <oncemark/dead_letter/store.hpp>
#include <oncemark/inbox/batch_dedup.hpp>
#include <oncemark/inbox/dedup.hpp>
#include <oncemark/inbox/key_from.hpp>
#include <oncemark/kafka/admin.hpp>
#include <oncemark/kafka/consumer.hpp>
#include <oncemark/kafka/errors.hpp>
#include <oncemark/kafka/producer.hpp>
#include <oncemark/message/message.hpp>
#include <oncemark/message/names.hpp>
#include <oncemark/message/ports.hpp>
#include <oncemark/mysql/errors.hpp>
#include <oncemark/mysql/migration.hpp>
#include <oncemark/mysql/pool.hpp>
#include <oncemark/observe/log.hpp>
#include <oncemark/observe/metric_names.hpp>
#include <oncemark/observe/metrics.hpp>
#include <oncemark/outbox/relay.hpp>
#include <oncemark/outbox/writer.hpp>
#include <oncemark/retry/policy.hpp>
#include <oncemark/retry/topics.hpp>
#include <oncemark/version.hpp>
