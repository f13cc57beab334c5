#include "mysql/statement_text.hpp"

#include <algorithm>
#include <array>

namespace oncemark::mysql {
namespace {

enum class VersionedComment { is_text, is_comment };

bool is_blank(char c) noexcept { return c == ' ' || (c >= '\t' && c <= '\r'); }
bool is_digit(char c) noexcept { return c >= '0' && c <= '9'; }
bool is_word(char c) noexcept {
  return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || is_digit(c) || c == '_' || c == '$' ||
         static_cast<unsigned char>(c) >= 0x80;
}

// Splits a statement into words (in upper case, quoted names included), single symbols, and "'" for any string.
class Tokens {
 public:
  Tokens(std::string_view sql, VersionedComment versioned) : rest_(sql), versioned_(versioned) {}

  // The next token; empty at the end.
  std::string next() {
    skip_blanks();
    if (rest_.empty()) return {};
    const char first = rest_.front();
    if (first == '\'' || first == '"') return skip_quoted(first), "'";
    if (first == '`') return upper(skip_quoted(first));
    if (!is_word(first)) return take(1);
    const auto end = std::find_if_not(rest_.begin(), rest_.end(), is_word);
    return upper(take(static_cast<std::size_t>(end - rest_.begin())));
  }

  [[nodiscard]] std::string_view rest() const noexcept { return rest_; }

 private:
  static std::string upper(std::string text) {
    for (char& c : text) {
      if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
    }
    return text;
  }

  std::string take(std::size_t count) {
    std::string taken(rest_.substr(0, count));
    rest_.remove_prefix(std::min(count, rest_.size()));
    return taken;
  }

  void skip_past(std::string_view end) {
    const auto found = rest_.find(end);
    take(found == std::string_view::npos ? rest_.size() : found + end.size());
  }

  void skip_blanks() {
    for (;;) {
      if (rest_.empty()) return;
      if (is_blank(rest_.front())) {
        take(1);
      } else if (rest_.front() == '#' || is_dash_comment()) {
        skip_past("\n");
      } else if (rest_.starts_with("/*!") || rest_.starts_with("/*M!")) {
        skip_versioned();
      } else if (rest_.starts_with("/*")) {
        take(2);
        skip_past("*/");
      } else if (rest_.starts_with("*/")) {  // end of a versioned comment
        take(2);
      } else {
        return;
      }
    }
  }

  [[nodiscard]] bool is_dash_comment() const noexcept {
    return rest_.starts_with("--") && (rest_.size() == 2 || static_cast<unsigned char>(rest_[2]) <= ' ');
  }

  void skip_versioned() {
    if (versioned_ == VersionedComment::is_comment) return skip_past("*/");
    skip_past("!");
    while (!rest_.empty() && is_digit(rest_.front())) take(1);
  }

  std::string skip_quoted(char quote) {
    std::size_t i = 1;
    while (i < rest_.size()) {
      if (rest_[i] == '\\' && quote != '`') {
        ++i;
      } else if (rest_[i] == quote) {
        if (i + 1 >= rest_.size() || rest_[i + 1] != quote) break;
        ++i;  // a doubled quote stands for itself
      }
      ++i;
    }
    std::string quoted = take(std::min(i + 1, rest_.size()));
    return quoted.size() >= 2 ? quoted.substr(1, quoted.size() - 2) : std::string();
  }

  std::string_view rest_;
  VersionedComment versioned_;
};

std::string first_word(Tokens& tokens) {
  std::string token = tokens.next();
  while (token == "(") token = tokens.next();
  return token;
}

template <std::size_t N>
bool contains(const std::array<std::string_view, N>& words, std::string_view word) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

// Statements that end a transaction whatever follows; compound statements and EXECUTE because of what they may hold.
constexpr std::array<std::string_view, 39> kAlways = {
    "ALTER",     "ANALYZE",  "BACKUP",  "BEGIN",  "CACHE",    "CASE",      "CHANGE",  "CHECK",   "CLONE",  "COMMIT",
    "EXECUTE",   "FLUSH",    "FOR",     "GRANT",  "IF",       "IMPORT",    "INSTALL", "LOCK",    "LOOP",   "OPTIMIZE",
    "PREPARE",   "PURGE",    "RELEASE", "RENAME", "REPAIR",   "REPEAT",    "RESET",   "RESTART", "REVOKE", "ROLLBACK",
    "SAVEPOINT", "SHUTDOWN", "START",   "STOP",   "TRUNCATE", "UNINSTALL", "UNLOCK",  "WHILE",   "XA"};
// Variables and clauses of SET that do so, or that change how the transaction and the next ones end.
constexpr std::array<std::string_view, 9> kSettings = {
    "AUTOCOMMIT",           "PASSWORD",        "DEFAULT",      "ROLE",
    "TRANSACTION",          "COMPLETION_TYPE", "TX_ISOLATION", "TRANSACTION_ISOLATION",
    "TRANSACTION_READ_ONLY"};
constexpr std::array<std::string_view, 6> kScopes = {"GLOBAL", "SESSION", "LOCAL", "PERSIST", "PERSIST_ONLY", "."};

std::optional<std::string> check(std::string_view sql, VersionedComment versioned);

// SET a = 1, @@session.b = 2: the name at the start of each assignment.
std::optional<std::string> check_set(Tokens& tokens, VersionedComment versioned) {
  bool at_name = true;
  int depth = 0;
  std::size_t signs = 0;
  for (std::string token = tokens.next(); !token.empty(); token = tokens.next()) {
    if (token == "(") ++depth;
    if (token == ")") --depth;
    if (token == "," && depth == 0) {
      at_name = true;
      signs = 0;
    } else if (token == "@") {
      ++signs;
    } else if (at_name && !contains(kScopes, token)) {
      at_name = false;
      if (signs == 1) continue;  // a user variable
      if (contains(kSettings, token)) return "SET " + token;
      if (token != "STATEMENT") continue;
      for (token = tokens.next(); !token.empty() && token != "FOR"; token = tokens.next()) {
      }
      return check(tokens.rest(), versioned);  // SET STATEMENT … FOR statement (MariaDB)
    }
  }
  return std::nullopt;
}

// CREATE and DROP of a temporary table do not commit.
std::optional<std::string> check_create_or_drop(const std::string& word, Tokens& tokens) {
  std::string token = tokens.next();
  if (token == "OR") {
    tokens.next();  // REPLACE
    token = tokens.next();
  }
  if (token == "TEMPORARY" && tokens.next() == "TABLE") return std::nullopt;
  return word + " " + token;
}

std::optional<std::string> check(std::string_view sql, VersionedComment versioned) {
  Tokens tokens(sql, versioned);
  const std::string word = first_word(tokens);
  if (contains(kAlways, word)) return word;
  if (word == "SET") return check_set(tokens, versioned);
  if (word == "CREATE" || word == "DROP") return check_create_or_drop(word, tokens);
  if (word == "LOAD" && tokens.next() == "INDEX") return "LOAD INDEX";
  if (!word.empty() && is_word(word.front()) && tokens.next() == ":") return "compound statement " + word;
  return std::nullopt;
}

}  // namespace

std::string first_keyword(std::string_view sql) {
  Tokens tokens(sql, VersionedComment::is_text);
  return first_word(tokens);
}

std::optional<std::string> ends_transaction(std::string_view sql) {
  if (auto found = check(sql, VersionedComment::is_text)) return found;
  if (sql.find("/*!") == std::string_view::npos && sql.find("/*M!") == std::string_view::npos) return std::nullopt;
  return check(sql, VersionedComment::is_comment);
}

}  // namespace oncemark::mysql
