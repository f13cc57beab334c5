#include "order.hpp"

#include <array>
#include <charconv>
#include <cstdio>
#include <numeric>
#include <utility>

#include <oncemark/core/error.hpp>

namespace demo {
namespace {

constexpr std::string_view kIdPrefix = "order-";

std::uint64_t mix(std::uint64_t value) {  // splitmix64
  value += 0x9e3779b97f4a7c15;
  value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9;
  value = (value ^ (value >> 27)) * 0x94d049bb133111eb;
  return value ^ (value >> 31);
}

/// The place of an order in its block of 100, shuffled: exact shares in an irregular order.
std::size_t drawn_place(int number, std::uint64_t seed) {
  const auto index = static_cast<std::size_t>(number - 1);
  std::uint64_t random = mix(seed ^ mix(index / 100));
  std::array<std::size_t, 100> places{};
  std::iota(places.begin(), places.end(), std::size_t{0});
  for (std::size_t i = places.size() - 1; i > 0; --i) {
    random = mix(random);
    std::swap(places[i], places[random % (i + 1)]);
  }
  return places[index % 100];
}

/// The value of one "name: value" line.
std::string field(std::string_view body, std::string_view name) {
  for (std::size_t begin = 0; begin < body.size();) {
    const std::size_t end = std::min(body.find('\n', begin), body.size());
    const std::string_view line = body.substr(begin, end - begin);
    if (line.starts_with(name) && line.substr(name.size()).starts_with(": ")) {
      return std::string(line.substr(name.size() + 2));
    }
    begin = end + 1;
  }
  throw oncemark::PermanentError("the order has no line \"" + std::string(name) + "\"");
}

}  // namespace

std::string Order::id() const {
  std::array<char, 24> text{};
  std::snprintf(text.data(), text.size(), "order-%06d", number);
  return text.data();
}

std::string Order::body() const {
  return "customer: " + customer + "\naddress: " + address + "\nwarehouse: " + warehouse + "\n";
}

Order make_order(int number, std::uint64_t seed) {
  const std::uint64_t random = mix(seed + static_cast<std::uint64_t>(number));
  const std::size_t place = drawn_place(number, seed);
  Order order{.number = number,
              .customer = "customer-" + std::to_string(random % 400),
              .address = std::to_string(1 + random % 90) + " Mill Lane",
              .warehouse = random % 2 == 0 ? "south" : "west"};
  if (place == 0) order.address.clear();
  if (place >= 1 && place <= 5) order.warehouse = "north";
  return order;
}

Order parse_order(std::string_view id, std::string_view body) {
  return {.number = parse_order_id(id),
          .customer = field(body, "customer"),
          .address = field(body, "address"),
          .warehouse = field(body, "warehouse")};
}

int parse_order_id(std::string_view id) {
  int number = 0;
  if (id.starts_with(kIdPrefix)) {
    const std::string_view digits = id.substr(kIdPrefix.size());
    const char* end = digits.data() + digits.size();
    const auto [stopped_at, error] = std::from_chars(digits.data(), end, number);
    if (error == std::errc{} && stopped_at == end && number > 0) return number;
  }
  throw oncemark::PermanentError("the record's key is no order id such as order-000042");
}

bool is_sent_twice(int number, std::uint64_t seed) { return drawn_place(number, mix(seed)) < 10; }

}  // namespace demo
