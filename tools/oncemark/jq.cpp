#include "jq.hpp"

#include <cstdio>
#include <new>

extern "C" {
#include <jq.h>
#include <jv.h>
}

#include <oncemark/observe/log.hpp>

#include "messages.hpp"
#include "program.hpp"

namespace oncemark::tools {
namespace {

std::string text_of(jv value) {
  const jv text = jv_get_kind(value) == JV_KIND_STRING ? value : jv_dump_string(value, 0);
  std::string result(jv_string_value(text), static_cast<std::size_t>(jv_string_length_bytes(jv_copy(text))));
  jv_free(text);
  return result;
}

// Of several complaints the first one names the place.
void keep_complaint(void* into, jv message) {
  auto& text = *static_cast<std::string*>(into);
  const std::string more = text_of(message);
  if (text.empty()) text = more;
}

}  // namespace

struct JqFilter::State {
  jq_state* jq = nullptr;
  std::string complaint;  // of jq, while it compiles
  bool has_told = false;
};

JqFilter::JqFilter(const std::string& program) : state_(std::make_unique<State>()) {
  state_->jq = jq_init();
  if (state_->jq == nullptr) throw std::bad_alloc();
  jq_set_error_cb(state_->jq, keep_complaint, &state_->complaint);
  if (jq_compile(state_->jq, program.c_str()) != 0) return;
  jq_teardown(&state_->jq);
  // jq's first line says what; what follows quotes the program, and blames the shell.
  throw UsageError("--jq is no jq program: " +
                   printable(state_->complaint.substr(0, state_->complaint.find('\n')), 300));
}

JqFilter::~JqFilter() { jq_teardown(&state_->jq); }

bool JqFilter::accepts(std::string_view document) {
  std::string error;
  bool is_accepted = false;
  jv input = jv_parse_sized(document.data(), static_cast<int>(document.size()));
  if (!jv_is_valid(input)) {
    error = text_of(jv_invalid_get_msg(input));
  } else {
    jq_start(state_->jq, input, 0);
    jv result = jq_next(state_->jq);
    if (jv_is_valid(result)) {
      const jv_kind kind = jv_get_kind(result);
      is_accepted = kind != JV_KIND_FALSE && kind != JV_KIND_NULL;
      jv_free(result);
    } else if (jv_invalid_has_msg(jv_copy(result))) {
      error = text_of(jv_invalid_get_msg(result));
    } else {
      jv_free(result);
    }
  }
  if (!error.empty() && !state_->has_told) {
    state_->has_told = true;
    say("warning: --jq fails for some letters, which are then not selected: " + printable(error, 300));
  }
  return is_accepted;
}

}  // namespace oncemark::tools
