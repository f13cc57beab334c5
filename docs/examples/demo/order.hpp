#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace demo {

/// An order as the demo's services know it. The same seed and number always make the same order.
///
/// Shape:   of every 100 orders one has no address (it cannot be shipped as it is) and five go to the warehouse
///          "north", which does not answer before the third call.
struct Order {
  int number = 0;  // from 1
  std::string customer;
  std::string address;
  std::string warehouse;

  /// order-000042: key of the record and of the tables.
  [[nodiscard]] std::string id() const;
  /// The payload: one "name: value" a line.
  [[nodiscard]] std::string body() const;
};

[[nodiscard]] Order make_order(int number, std::uint64_t seed);
/// Reads what body() wrote. Throws oncemark::PermanentError naming what is missing.
[[nodiscard]] Order parse_order(std::string_view id, std::string_view body);
/// Reads what id() wrote. Throws oncemark::PermanentError.
[[nodiscard]] int parse_order_id(std::string_view id);
/// Whether the demo sends this order's record a second time: 10 of every 100.
[[nodiscard]] bool is_sent_twice(int number, std::uint64_t seed);

}  // namespace demo
