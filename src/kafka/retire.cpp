#include "kafka/retire.hpp"

#include <future>
#include <system_error>
#include <thread>

namespace oncemark::kafka {
namespace {

struct Retired {
  ClientHandle client;
  std::unique_ptr<ClientLog> log;
  std::promise<void> gone;

  void destroy() noexcept {
    rd_kafka_destroy_flags(client.release(), RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
    log.reset();
    gone.set_value();
  }
};

}  // namespace

void retire(ClientHandle client, std::unique_ptr<ClientLog> log, std::chrono::milliseconds bound) noexcept {
  if (!client) return;
  const std::string name = log->client();
  auto retired = std::make_shared<Retired>();
  retired->client = std::move(client);
  retired->log = std::move(log);
  std::future<void> gone = retired->gone.get_future();
  std::thread thread;
  try {
    thread = std::thread([retired] { retired->destroy(); });
  } catch (const std::system_error&) {  // no thread to be had
    retired->destroy();
    return;
  }
  if (gone.wait_for(bound) == std::future_status::ready) {
    thread.join();
    return;
  }
  thread.detach();
  oncemark::log(LogLevel::warn, "a Kafka client takes long to end and is left to itself", {{"client", name}});
}

}  // namespace oncemark::kafka
