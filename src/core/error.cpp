#include <oncemark/core/error.hpp>

#include <cstdlib>
#include <exception>
#include <memory>
#include <typeinfo>

#include <cxxabi.h>

#include "core/utf8.hpp"

namespace oncemark {
namespace {

constexpr std::size_t kMaxClass = 255;
constexpr std::size_t kMaxText = 1'024;

std::string demangled(const std::type_info& type) {
  int status = 0;
  const std::unique_ptr<char, decltype(&std::free)> name(abi::__cxa_demangle(type.name(), nullptr, nullptr, &status),
                                                         &std::free);
  return status == 0 && name ? name.get() : type.name();
}

ErrorSummary summary(std::string_view error_class, std::string_view text, ErrorKind kind, std::string_view type) {
  return {.error_class = utf8::repaired(truncate_utf8(error_class, kMaxClass)),
          .text = utf8::repaired(truncate_utf8(text, kMaxText)),
          .kind = kind,
          .type = std::string(type)};
}

ErrorSummary summarize_own(const Error& error) {
  ErrorSummary own = summary(error.error_class(), error.what(), error.kind(), demangled(typeid(error)));
  own.is_infrastructure = error.is_infrastructure();
  own.is_contention = error.is_contention();
  if (const auto* later = dynamic_cast<const RetryAfterError*>(&error)) own.retry_after = later->delay();
  own.is_given_up = dynamic_cast<const DeadLetterError*>(&error) != nullptr;
  return own;
}

ErrorSummary summarize_foreign() {
  const std::type_info* type = abi::__cxa_current_exception_type();
  const std::string name = type ? demangled(*type) : "something";
  return summary("unknown", "threw " + name + ", which is no std::exception", ErrorKind::permanent, name);
}

}  // namespace

std::string_view to_string(ErrorKind kind) noexcept {
  switch (kind) {
    case ErrorKind::transient:
      return "transient";
    case ErrorKind::unavailable:
      return "unavailable";
    case ErrorKind::permanent:
      return "permanent";
    case ErrorKind::in_doubt:
      return "in_doubt";
    case ErrorKind::misuse:
      return "misuse";
  }
  return "unknown";
}

ErrorSummary summarize_current_exception() noexcept {
  try {
    if (!std::current_exception()) {
      return summary("unknown", "no exception is being handled", ErrorKind::transient, {});
    }
    try {
      throw;
    } catch (const Error& error) {
      return summarize_own(error);
    } catch (const std::exception& error) {
      const std::string type = demangled(typeid(error));
      return summary(type, error.what(), ErrorKind::transient, type);
    } catch (...) {
      return summarize_foreign();
    }
  } catch (...) {  // no memory for the texts
    return {};
  }
}

std::string_view truncate_utf8(std::string_view text, std::size_t limit) noexcept {
  if (text.size() <= limit) return text;
  const auto continues = [&](std::size_t at) { return (static_cast<unsigned char>(text[at]) & 0xC0) == 0x80; };
  std::size_t cut = limit;
  while (cut > 0 && limit - cut < 3 && continues(cut)) --cut;
  // No sequence is that long: not UTF-8, so there is nothing to keep whole.
  if (continues(cut)) cut = limit;
  return text.substr(0, cut);
}

}  // namespace oncemark
