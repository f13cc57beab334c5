#pragma once

#include <chrono>
#include <memory>

#include <oncemark/mysql/pool.hpp>

namespace oncemark::mysql {

/// Connects, and puts the session settings of every connection of this library in place.
///
/// Threads: any.
/// Errors:  MysqlError{unavailable | misuse}; ConfigError{password_file | tls_ca} for a file that cannot be
///          used; MisuseError when TLS was asked for and is not in use.
[[nodiscard]] std::unique_ptr<Connection> connect_to_server(const PoolOptions& options,
                                                            std::chrono::seconds wait_timeout);

}  // namespace oncemark::mysql
