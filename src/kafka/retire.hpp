#pragma once

#include <chrono>
#include <memory>

#include "kafka/client_log.hpp"
#include "kafka/handles.hpp"

namespace oncemark::kafka {

/// Destroys a client, waiting no longer than `bound` for it.
///
/// Shape:   the client is destroyed on a thread of its own, because librdkafka joins threads that may sit in a name
///          look-up; past the bound that thread is left behind and goes on alone. `log`, the client's opaque, lives as
///          long as the client. A consumer that was not closed does not leave its group.
/// Errors:  never throws.
void retire(ClientHandle client, std::unique_ptr<ClientLog> log, std::chrono::milliseconds bound) noexcept;

}  // namespace oncemark::kafka
