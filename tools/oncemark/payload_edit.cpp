#include "payload_edit.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <stdexcept>
#include <vector>

#include <sys/wait.h>
#include <unistd.h>

#include <oncemark/observe/log.hpp>

#include "program.hpp"

namespace oncemark::tools {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kDeepest = 500;

/// What stands in JSON besides spaces and strings: numbers as they are written, and how many members there are.
struct Notation {
  std::vector<std::string> numbers;
  std::size_t members = 0;
  std::size_t depth = 0;
};

Notation notation_of(std::string_view json) {
  Notation found;
  std::size_t depth = 0;
  for (std::size_t i = 0; i < json.size(); ++i) {
    const char c = json[i];
    if (c == '"') {
      for (++i; i < json.size() && json[i] != '"'; ++i) {
        if (json[i] == '\\') ++i;
      }
    } else if (c == '-' || (c >= '0' && c <= '9')) {
      const std::size_t end = std::min(json.find_first_not_of("+-.0123456789eE", i), json.size());
      found.numbers.emplace_back(json.substr(i, end - i));
      i = end - 1;
    } else if (c == '{' || c == '[') {
      found.depth = std::max(found.depth, ++depth);
    } else if (c == '}' || c == ']') {
      --depth;
    } else if (c == ':') {
      ++found.members;
    }
  }
  return found;
}

/// Throws when writing it anew would change what nobody asked for.
Json parse_faithfully(const Bytes& payload) {
  const auto json = payload.is_null() ? std::nullopt : parse_payload(payload.view());
  if (!json)
    throw UsageError("the payload is no JSON that could be patched; edit it with $EDITOR, or give --payload FILE");
  const Notation before = notation_of(payload.view());
  const Notation after = notation_of(json->dump(-1, ' ', false, Json::error_handler_t::replace));
  if (before.members != after.members) {
    throw UsageError(
        "the payload has an object with the same member twice, and a patch would drop one of them; edit it "
        "with $EDITOR");
  }
  const auto [old_number, new_number] = std::ranges::mismatch(before.numbers, after.numbers);
  if (old_number != before.numbers.end()) {
    throw UsageError("the payload has the number " + printable(*old_number, 60) + ", which a patch would write as " +
                     (new_number == after.numbers.end() ? "something else" : printable(*new_number, 60)) +
                     "; edit it with $EDITOR, which changes nothing else");
  }
  return *json;
}

Json parse_patch(std::string_view text) {
  auto patch = parse_payload(text);
  if (!patch) throw UsageError("the patch is no JSON");
  return std::move(*patch);
}

Bytes written(const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::strict); }

/// A folder that only we can look into, gone with the object.
class PrivateFolder {
 public:
  PrivateFolder() : path_((fs::temp_directory_path() / "oncemark-edit-XXXXXX").string()) {
    if (::mkdtemp(path_.data()) == nullptr) throw std::runtime_error("no folder could be made for the editor's file");
  }
  PrivateFolder(const PrivateFolder&) = delete;
  PrivateFolder& operator=(const PrivateFolder&) = delete;
  ~PrivateFolder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  [[nodiscard]] fs::path operator/(const char* name) const { return fs::path(path_) / name; }

 private:
  std::string path_;
};

void run_editor(const fs::path& file) {
  const char* command = std::getenv("VISUAL");
  if (command == nullptr || *command == '\0') command = std::getenv("EDITOR");
  if (command == nullptr || *command == '\0') command = "vi";
  const std::string line = std::string(command) + " \"$1\"";  // the command may have words of its own
  const pid_t child = ::fork();
  if (child < 0) throw std::runtime_error("the editor could not be started");
  if (child == 0) {
    ::execl("/bin/sh", "sh", "-c", line.c_str(), "sh", file.c_str(), static_cast<char*>(nullptr));
    ::_exit(127);
  }
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return;
  throw UsageError("the editor " + printable(command, 100) + " failed; nothing was done");
}

}  // namespace

std::optional<Json> parse_payload(std::string_view text) {
  if (!Json::accept(text) || notation_of(text).depth > kDeepest) return std::nullopt;
  return Json::parse(text);
}

std::string read_whole(const std::string& file) {
  std::ifstream opened;
  if (file != "-") {
    opened.open(file, std::ios::binary);
    if (!opened || fs::is_directory(file)) throw UsageError(printable(file, 200) + " cannot be read");
  }
  std::istream& in = file == "-" ? std::cin : opened;
  std::string text((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  if (in.bad()) throw UsageError(printable(file, 200) + " cannot be read");
  return text;
}

Bytes with_patch(const Bytes& payload, std::string_view patch) {
  const Json before = parse_faithfully(payload);
  try {
    return written(before.patch(parse_patch(patch)));
  } catch (const Json::exception& error) {
    throw UsageError("the patch does not fit: " + printable(error.what(), 300));
  }
}

Bytes with_merge_patch(const Bytes& payload, std::string_view patch) {
  Json json = parse_faithfully(payload);
  json.merge_patch(parse_patch(patch));
  return written(json);
}

Bytes edited_by_hand(const Bytes& payload) {
  const PrivateFolder folder;
  const bool is_json = !payload.is_null() && Json::accept(payload.view());
  const fs::path file = folder / (is_json ? "payload.json" : "payload");
  {
    std::ofstream out(file, std::ios::binary);
    out << payload.view();
    if (!out.flush()) throw std::runtime_error("the editor's file could not be written");
  }
  run_editor(file);
  if (!fs::exists(file)) throw UsageError("the editor left no file; nothing was done");
  std::string text = read_whole(file.string());
  if (payload.is_null() && text.empty()) return payload;
  if (text.ends_with('\n') && !payload.view().ends_with('\n')) text.pop_back();
  return text;
}

}  // namespace oncemark::tools
