#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include <oncemark/core/bytes.hpp>

namespace oncemark::outbox {

/// Where a row of `outbox_message` stands.
///
///   waiting ──due──▶ pending ──acked──▶ sent
///                       │  ▲
///                refused│  │backoff over
///                       ▼  │
///                    failing ──past the limit──▶ dead
enum class Status { waiting, pending, sent, failing, dead };

[[nodiscard]] std::string_view to_string(Status status) noexcept;

/// The relay that carries business rows unless a draft names another.
inline constexpr std::string_view kMainRelay = "main";

/// Shards per relay: fixed for ever, because a key that changed its shard could overtake itself.
inline constexpr int kShards = 64;

/// What a draft may hold; checked before any SQL.
struct OutboxLimits {
  static constexpr std::size_t topic = 249;          // bytes; [A-Za-z0-9._-], not "." or ".."
  static constexpr std::size_t key = 512;            // bytes
  static constexpr std::size_t payload = 16u << 20;  // bytes; the broker's and the server's own limits are often lower
  static constexpr std::size_t headers = 64u << 10;  // bytes, names and values together
  static constexpr std::size_t header_count = 1'000;
};

/// xxh3 of the ordering key, or of the message id when there is none, modulo kShards.
[[nodiscard]] std::uint8_t shard_of(const Bytes& message_key, std::string_view message_id) noexcept;

}  // namespace oncemark::outbox
