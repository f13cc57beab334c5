#pragma once

#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <oncemark/core/bytes.hpp>

namespace oncemark {

/// One record header. Kafka allows null values, empty names and any bytes.
struct Header {
  std::string name = {};
  Bytes value = {};
  bool operator==(const Header&) const = default;
};

/// The headers of a record, in order, duplicates kept.
///
/// Shape:   a multimap in wire order; looking a name up finds the *last* one, as Kafka's clients do.
/// Threads: a value.
/// Errors:  none.
class Headers {
 public:
  using const_iterator = std::vector<Header>::const_iterator;

  Headers() = default;
  Headers(std::initializer_list<Header> headers) : headers_(headers) {}

  void append(std::string name, Bytes value) { headers_.push_back({std::move(name), std::move(value)}); }
  /// Removes every header of that name and appends this one: how our own headers are written, so none pile up.
  void set(std::string_view name, Bytes value);
  void remove(std::string_view name);
  /// Removes every header whose name starts with `prefix`.
  void remove_prefixed(std::string_view prefix);

  /// The last header of that name; nullptr when there is none.
  [[nodiscard]] const Bytes* find(std::string_view name) const noexcept;
  /// The last value of that name, if there is one and it is not null.
  [[nodiscard]] std::optional<std::string_view> text(std::string_view name) const noexcept;
  [[nodiscard]] bool contains(std::string_view name) const noexcept { return find(name) != nullptr; }

  [[nodiscard]] std::size_t size() const noexcept { return headers_.size(); }
  [[nodiscard]] bool empty() const noexcept { return headers_.empty(); }
  [[nodiscard]] const_iterator begin() const noexcept { return headers_.begin(); }
  [[nodiscard]] const_iterator end() const noexcept { return headers_.end(); }
  bool operator==(const Headers&) const = default;

 private:
  std::vector<Header> headers_;
};

/// The form in which headers lie in our tables: a JSON array of [name, value] pairs.
///
/// Shape:   text that is valid UTF-8 stands as a JSON string; any other bytes as {"base64": "…"}; a null value as null.
///          Order and duplicates are kept. No headers: "[]".
/// Errors:  decode_headers throws PermanentError naming what it could not read.
[[nodiscard]] std::string encode_headers(const Headers& headers);
[[nodiscard]] Headers decode_headers(std::string_view text);

}  // namespace oncemark
