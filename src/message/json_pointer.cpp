#include <oncemark/message/json_pointer.hpp>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <string_view>
#include <utility>

#include <xxhash.h>
#include <nlohmann/json.hpp>
#include <oncemark/core/error.hpp>

#include "core/utf8.hpp"

namespace oncemark {
namespace {

constexpr std::size_t kMaxDepth = 1'000;  // a deeper document is no message, but an attack on whoever reads it

[[noreturn]] void refuse(const std::string& text, const std::string& why) {
  throw ConfigError("JsonPointer", utf8::in_quotes(text) + " is no JSON pointer: " + why +
                                       "; write it like /order/id or /lines/0/sku (RFC 6901)");
}

std::string decoded(const std::string& text, std::string_view step) {
  std::string name;
  for (std::size_t i = 0; i < step.size(); ++i) {
    if (step[i] != '~') {
      name += step[i];
      continue;
    }
    const char code = i + 1 < step.size() ? step[i + 1] : '\0';
    if (code != '0' && code != '1') refuse(text, "'~' is followed by neither 0 nor 1");
    name += code == '0' ? '~' : '/';
    ++i;
  }
  return name;
}

/// An array's index as a pointer spells it: no sign, no leading zero.
std::optional<std::size_t> index_of(const std::string& step) {
  if (step.empty() || (step.size() > 1 && step[0] == '0')) return std::nullopt;
  std::size_t index = 0;
  const char* end = step.data() + step.size();
  const auto [stopped_at, error] = std::from_chars(step.data(), end, index);
  if (error != std::errc{} || stopped_at != end) return std::nullopt;
  return index;
}

enum class Kind { string, integer, fraction, boolean, null, object, array };

/// Reads a document once, from front to back, and tells its derived class which values lie at which of the places.
class Walk : public nlohmann::json_sax<nlohmann::json> {
 public:
  explicit Walk(std::span<const JsonPointer> places) {
    for (const JsonPointer& place : places) targets_.push_back({.steps = &place.steps()});
    for (Target& target : targets_) {
      for (const std::string& step : *target.steps) target.indexes.push_back(index_of(step));
    }
  }

  /// False when the payload is no JSON; error_byte() then says where.
  bool read(std::string_view payload) { return nlohmann::json::sax_parse(payload.begin(), payload.end(), this); }
  [[nodiscard]] std::size_t error_byte() const noexcept { return error_byte_; }
  [[nodiscard]] bool is_too_deep() const noexcept { return is_too_deep_; }

  bool null() final { return scalar(Kind::null, {}); }
  bool boolean(bool value) final { return scalar(Kind::boolean, value ? "true" : "false"); }
  bool number_integer(std::int64_t value) final { return scalar(Kind::integer, std::to_string(value)); }
  bool number_unsigned(std::uint64_t value) final { return scalar(Kind::integer, std::to_string(value)); }
  bool number_float(double value, const std::string& spelled) final {
    // A whole number beyond 64 bits comes here too: only its spelling has all of its digits.
    if (spelled.find_first_of(".eE") == std::string::npos) return scalar(Kind::integer, spelled);
    constexpr double kExact = 9'007'199'254'740'992.0;  // 2^53: below it a whole double names one number only
    if (std::trunc(value) == value && std::abs(value) < kExact) {
      return scalar(Kind::fraction, std::to_string(static_cast<std::int64_t>(value)));
    }
    std::array<char, sizeof value> bits{};
    std::memcpy(bits.data(), &value, sizeof value);
    return scalar(Kind::fraction, std::string_view(bits.data(), bits.size()));
  }
  bool string(std::string& value) final { return scalar(Kind::string, value); }
  bool binary(nlohmann::json::binary_t&) final { return false; }  // not in JSON text
  bool start_object(std::size_t) final { return open(Kind::object); }
  bool key(std::string& name) final {
    containers_.back().name = std::move(name);
    return true;
  }
  bool end_object() final { return close(); }
  bool start_array(std::size_t) final { return open(Kind::array); }
  bool end_array() final { return close(); }
  bool parse_error(std::size_t position, const std::string&, const nlohmann::detail::exception&) final {
    error_byte_ = position;
    return false;
  }

 protected:
  struct Target {
    const std::vector<std::string>* steps = nullptr;
    std::vector<std::optional<std::size_t>> indexes = {};  // the steps, where they can be indexes
    std::size_t matched = 0;                               // how many steps lead to where the reader stands
  };

  /// Whether the value at hand lies at the place.
  [[nodiscard]] bool is_at(std::size_t target) const noexcept {
    return targets_[target].matched == containers_.size() && targets_[target].steps->size() == containers_.size();
  }
  [[nodiscard]] std::size_t targets() const noexcept { return targets_.size(); }
  /// The name of the value at hand in the object around it; nothing in an array or at the top.
  [[nodiscard]] const std::string* name() const noexcept {
    return containers_.empty() || containers_.back().kind == Kind::array ? nullptr : &containers_.back().name;
  }

  virtual void on_scalar(Kind kind, std::string_view text) = 0;
  virtual void on_open(Kind kind) = 0;
  virtual void on_close(Kind kind) = 0;
  /// The way to a place begins anew: what was found there came from a name that appears a second time.
  virtual void forget(std::size_t target) = 0;

 private:
  struct Container {
    Kind kind;
    std::string name = {};  // of the member at hand
    std::size_t index = 0;  // of the next element
  };

  void enter() {
    if (containers_.empty()) return;
    const std::size_t depth = containers_.size() - 1;
    Container& container = containers_.back();
    for (std::size_t i = 0; i < targets_.size(); ++i) {
      Target& target = targets_[i];
      if (target.matched != depth || depth >= target.steps->size()) continue;
      const bool is_on_the_way = container.kind == Kind::object ? (*target.steps)[depth] == container.name
                                                                : target.indexes[depth] == container.index;
      if (!is_on_the_way) continue;
      ++target.matched;
      forget(i);
    }
    ++container.index;
  }
  void leave() {
    if (containers_.empty()) return;
    for (Target& target : targets_) {
      if (target.matched == containers_.size()) --target.matched;
    }
  }
  bool scalar(Kind kind, std::string_view text) {
    enter();
    on_scalar(kind, text);
    leave();
    return true;
  }
  bool open(Kind kind) {
    enter();
    on_open(kind);
    is_too_deep_ = containers_.size() >= kMaxDepth;
    containers_.push_back({.kind = kind});
    return !is_too_deep_;
  }
  bool close() {
    const Kind kind = containers_.back().kind;
    containers_.pop_back();
    on_close(kind);
    leave();
    return true;
  }

  std::vector<Target> targets_;
  std::vector<Container> containers_;
  std::size_t error_byte_ = 0;
  bool is_too_deep_ = false;
};

/// What lies at one place.
class ScalarWalk final : public Walk {
 public:
  explicit ScalarWalk(const JsonPointer& place) : Walk({&place, 1}) {}

  std::optional<Kind> kind = {};
  std::string text = {};

 private:
  void on_scalar(Kind found, std::string_view found_text) override {
    if (!is_at(0)) return;
    kind = found;
    text = found_text;
  }
  void on_open(Kind found) override {
    if (is_at(0)) kind = found;
  }
  void on_close(Kind) override {}
  void forget(std::size_t) override { kind.reset(); }
};

std::uint64_t mixed(std::uint64_t a, std::uint64_t b) {
  const std::array<std::uint64_t, 2> both{a, b};
  return XXH3_64bits(both.data(), sizeof both);
}

/// Hashes every value from its leaves upwards, and keeps the hashes of those at the places.
class HashWalk final : public Walk {
 public:
  explicit HashWalk(std::span<const JsonPointer> places) : Walk(places), found(places.size()) {}

  std::vector<std::optional<std::uint64_t>> found;

 private:
  void on_scalar(Kind kind, std::string_view text) override {
    // 2 and 2.0 are one number.
    const auto tag = static_cast<XXH64_hash_t>(kind == Kind::fraction ? Kind::integer : kind);
    take(XXH3_64bits_withSeed(text.data(), text.size(), tag + 1));
  }
  void on_open(Kind kind) override { open_.push_back(static_cast<std::uint64_t>(kind) + 1); }
  void on_close(Kind kind) override {
    const std::uint64_t content = open_.back();
    open_.pop_back();
    take(mixed(content, static_cast<std::uint64_t>(kind)));
  }
  void forget(std::size_t target) override { found[target].reset(); }

  void take(std::uint64_t hash) {
    for (std::size_t i = 0; i < targets(); ++i) {
      if (is_at(i)) found[i] = hash;
    }
    if (open_.empty()) return;
    // A sum knows no order: members of an object have none. Elements of an array do.
    if (const std::string* member = name()) {
      open_.back() += mixed(XXH3_64bits(member->data(), member->size()), hash);
    } else {
      open_.back() = mixed(open_.back(), hash);
    }
  }

  std::vector<std::uint64_t> open_;  // of each container that is being read, what it holds so far
};

std::string no_json(std::string_view payload, const Walk& walk) {
  if (walk.is_too_deep()) return "the payload nests deeper than " + std::to_string(kMaxDepth) + " levels";
  std::string text = "the payload is no JSON: ";
  text += walk.error_byte() > payload.size() ? "it ends too early" : "see byte " + std::to_string(walk.error_byte());
  // Five bytes of a schema registry come before the document.
  if (payload.starts_with('\0')) {
    text += "; it begins with a zero byte, as in a schema registry's framing: cut that off with KeyFrom::function";
  }
  return text;
}

}  // namespace

JsonPointer::JsonPointer(std::string text) : text_(std::move(text)) {
  if (text_.empty()) return;
  if (text_[0] != '/') refuse(text_, "it does not begin with '/'");
  for (std::size_t begin = 1; begin <= text_.size();) {
    const std::size_t end = std::min(text_.find('/', begin), text_.size());
    steps_.push_back(decoded(text_, std::string_view(text_).substr(begin, end - begin)));
    begin = end + 1;
  }
}

std::string json_key(const Bytes& payload, const JsonPointer& place) {
  if (payload.empty()) throw PermanentError(payload.is_null() ? "the payload is null" : "the payload is empty");
  ScalarWalk walk(place);
  if (!walk.read(payload.view())) throw PermanentError(no_json(payload.view(), walk));
  const std::string at = "at JSON pointer " + utf8::in_quotes(place.str()) + " of the payload ";
  if (!walk.kind) throw PermanentError(at + "there is nothing");
  switch (*walk.kind) {
    case Kind::string:
      if (walk.text.empty()) throw PermanentError(at + "lies an empty string");
      break;
    case Kind::integer:
      break;
    case Kind::fraction:
      throw PermanentError(at +
                           "lies a number with a fraction or an exponent; only a whole number has one spelling: send "
                           "it as a string, or take the key with KeyFrom::function");
    case Kind::boolean:
      throw PermanentError(at + "lies a boolean; two values cannot tell messages apart");
    case Kind::null:
      throw PermanentError(at + "lies null");
    case Kind::object:
      throw PermanentError(at + "lies an object; point to a string or a whole number in it");
    case Kind::array:
      throw PermanentError(at + "lies an array; point to a string or a whole number in it");
  }
  return std::move(walk.text);
}

std::optional<std::uint64_t> json_hash(const Bytes& payload, std::span<const JsonPointer> places) {
  if (payload.empty()) return std::nullopt;
  HashWalk walk(places);
  if (!walk.read(payload.view())) return std::nullopt;
  std::uint64_t hash = 0;
  bool is_any_there = false;
  for (const auto& found : walk.found) {
    hash = mixed(hash, found ? mixed(1, *found) : 0);
    is_any_there = is_any_there || found;
  }
  if (!is_any_there) return std::nullopt;
  return hash == 0 ? 1 : hash;
}

}  // namespace oncemark
