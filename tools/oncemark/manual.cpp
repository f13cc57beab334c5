#include "manual.hpp"

#include <algorithm>
#include <cctype>
#include <sstream>

#include <oncemark/version.hpp>

namespace oncemark::tools {
namespace {

using Elsewhere = std::vector<std::pair<std::string, std::string>>;

/// Text that roff shows as it is.
std::string roff(std::string_view text) {
  std::string escaped;
  bool is_at_start = true;
  for (const char c : text) {
    if (is_at_start && (c == '.' || c == '\'')) escaped += "\\&";
    if (c == '\\') {
      escaped += "\\e";
    } else if (c == '-') {
      escaped += "\\-";
    } else {
      escaped += c;
    }
    is_at_start = c == '\n';
  }
  return escaped;
}

std::string bold(const std::string& text) { return "\\fB" + roff(text) + "\\fR"; }
std::string italic(const std::string& text) { return "\\fI" + roff(text) + "\\fR"; }

std::string upper(std::string text) {
  std::ranges::transform(text, text.begin(), [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  return text;
}

/// Lines that keep their breaks.
std::string verbatim(const std::string& text) {
  return ".nf\n" + roff(text) + (text.ends_with('\n') ? "" : "\n") + ".fi\n";
}

/// A footer is paragraphs, the last of which may be examples; "Everywhere: …" is said once, under OPTIONS.
struct Footer {
  std::string text;
  std::string examples;
};
Footer footer_of(const CLI::App& app) {
  constexpr std::string_view kMark = "\nExamples:\n";
  std::string all = app.get_footer();
  Footer footer;
  if (const std::size_t at = all.find(kMark); at != std::string::npos) {
    footer.examples = all.substr(at + kMark.size());
    all.resize(at);
  }
  if (const std::size_t at = all.find("\nEverywhere:"); at != std::string::npos) {
    all.erase(at, all.find('\n', at + 1) - at);
  }
  all.erase(0, all.find_first_not_of('\n'));
  footer.text = all;
  return footer;
}

void write_option(std::ostream& out, const CLI::Option& option) {
  out << ".TP\n";
  if (option.nonpositional()) {
    std::string names;
    for (const std::string& name : option.get_snames()) names += (names.empty() ? "" : ", ") + bold("-" + name);
    for (const std::string& name : option.get_lnames()) names += (names.empty() ? "" : ", ") + bold("--" + name);
    out << names;
    if (option.get_items_expected_max() > 0 && !option.get_type_name().empty()) {
      out << ' ' << italic(option.get_type_name());
    }
  } else {
    out << italic(option.get_name(true));
  }
  out << '\n' << roff(option.get_description()) << (option.get_required() ? " (required)" : "") << '\n';
}

/// The options but --help, by group, in the order in which they were added.
void write_options(std::ostream& out, const CLI::App& app) {
  for (const std::string& group : app.get_groups()) {
    bool is_first = true;
    for (const CLI::Option* option : app.get_options()) {
      if (option->get_group() != group || option == app.get_help_ptr()) continue;
      if (is_first && group != "Options") out << ".P\n" << italic(group) << '\n';
      is_first = false;
      write_option(out, *option);
    }
  }
  for (const CLI::Option* option : app.get_options()) {
    if (option->get_group().empty() && !option->nonpositional()) write_option(out, *option);
  }
}

void write_verb(std::ostream& out, const CLI::App& verb, const std::string& name, const Elsewhere& elsewhere) {
  if (verb.get_group().empty()) return;
  out << ".SS " << roff(name) << '\n' << roff(verb.get_description()) << '\n';
  for (const auto& [other, program] : elsewhere) {
    if (other == name) {
      out << "See " << bold(program) << "(1).\n";
      return;
    }
  }
  write_options(out, verb);
  const Footer footer = footer_of(verb);
  if (!footer.text.empty()) out << ".P\n" << verbatim(footer.text);
  if (!footer.examples.empty()) out << ".P\nExamples:\n" << verbatim(footer.examples);
  for (const CLI::App* inner : verb.get_subcommands({})) write_verb(out, *inner, name + " " + inner->get_name(), {});
}

std::vector<const CLI::App*> shown_verbs(const CLI::App& app) {
  std::vector<const CLI::App*> verbs;
  for (const CLI::App* verb : app.get_subcommands({})) {
    if (!verb->get_group().empty()) verbs.push_back(verb);
  }
  return verbs;
}

// ---- Completion ----

/// In single quotes of a shell.
std::string in_quotes(std::string_view text) {
  std::string result = "'";
  for (const char c : text) result += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return result + "'";
}

/// One place of the command line: what can follow there.
struct Node {
  std::string path;
  const CLI::App* app;
};
void collect(std::vector<Node>& nodes, const CLI::App& app, const std::string& path) {
  nodes.push_back({path, &app});
  for (const CLI::App* verb : shown_verbs(app)) collect(nodes, *verb, path + " " + verb->get_name());
}
std::vector<Node> nodes_of(const std::vector<const CLI::App*>& programs) {
  std::vector<Node> nodes;
  for (const CLI::App* program : programs) collect(nodes, *program, program->get_name());
  return nodes;
}

std::vector<const CLI::Option*> flags_of(const CLI::App& app) {
  std::vector<const CLI::Option*> flags;
  for (const CLI::Option* option : app.get_options()) {
    if (option->nonpositional() && !option->get_lnames().empty()) flags.push_back(option);
  }
  return flags;
}

bool takes_value(const CLI::Option& option) { return option.get_items_expected_max() > 0; }

/// What follows a flag, by the name that --help gives it.
const std::vector<std::pair<std::string, std::string>>& values() {
  static const std::vector<std::pair<std::string, std::string>> kValues{
      {"FILE", ""},
      {"DIR", ""},
      {"STATE", "dead replaying replayed resolved archived discarded any"},
      {"ORDER", "death key"}};
  return kValues;
}

/// The flags of all programs that take a value, by what they take.
std::string flags_that_take(const std::vector<Node>& nodes, const std::string& type) {
  std::vector<std::string> names;
  for (const Node& node : nodes) {
    for (const CLI::Option* flag : flags_of(*node.app)) {
      const bool is_known =
          std::ranges::any_of(values(), [&](const auto& one) { return flag->get_type_name() == one.first; });
      if (!takes_value(*flag) || (type.empty() ? is_known : flag->get_type_name() != type)) continue;
      for (const std::string& name : flag->get_lnames()) names.push_back("--" + name);
      for (const std::string& name : flag->get_snames()) names.push_back("-" + name);
    }
  }
  std::ranges::sort(names);
  names.erase(std::ranges::unique(names).begin(), names.end());
  std::string pattern;
  for (const std::string& name : names) pattern += (pattern.empty() ? "" : "|") + name;
  return pattern;
}

bool takes_file(const CLI::App& app) {
  return std::ranges::any_of(app.get_options(), [](const CLI::Option* option) {
    return !option->nonpositional() && option->get_name(true) == "FILE";
  });
}

/// The words that name a place, without flags and what belongs to them: the same loop in both shells.
std::string path_loop(const std::vector<Node>& nodes, const std::string& first, const std::string& words,
                      const std::string& condition) {
  std::string all;
  for (const auto& [type, ignored] : values()) {
    if (const std::string flags = flags_that_take(nodes, type); !flags.empty()) all += (all.empty() ? "" : "|") + flags;
  }
  if (const std::string flags = flags_that_take(nodes, ""); !flags.empty()) all += (all.empty() ? "" : "|") + flags;
  std::string verbs;
  for (const Node& node : nodes) verbs += (verbs.empty() ? "" : "|") + in_quotes(node.path);
  return "  local place=\"${" + first +
         "##*/}\" i word skip=\n"
         "  for (( " +
         condition +
         " )); do\n"
         "    word=\"${" +
         words +
         "[i]}\"\n"
         "    if [[ -n $skip ]]; then skip=; continue; fi\n"
         "    case \"$word\" in\n"
         "      " +
         all +
         ") skip=1 ;;\n"
         "      -*) ;;\n"
         "      *) case \"$place $word\" in " +
         verbs +
         ") place=\"$place $word\" ;; esac ;;\n"
         "    esac\n"
         "  done\n";
}

}  // namespace

std::string man_page(const CLI::App& app, const Elsewhere& elsewhere) {
  std::ostringstream out;
  const std::string name = app.get_name();
  const Footer footer = footer_of(app);
  out << ".\\\" Written by the program itself, from what --help says.\n"
      << ".TH " << roff(upper(name)) << " 1 \"\" \"oncemark " << kVersion << "\" \"oncemark\"\n"
      << ".SH NAME\n"
      << roff(name) << " \\- " << roff(app.get_description()) << '\n'
      << ".SH SYNOPSIS\n"
      << bold(name) << ' ' << italic("VERB") << " [" << italic("FLAGS") << "]\n"
      << ".SH DESCRIPTION\n"
      << verbatim(footer.text) << ".SH VERBS\n";
  for (const CLI::App* verb : shown_verbs(app)) write_verb(out, *verb, verb->get_name(), elsewhere);
  out << ".SH OPTIONS\n";
  write_options(out, app);
  if (!footer.examples.empty()) out << ".SH EXAMPLES\n" << verbatim(footer.examples);
  out << ".SH SEE ALSO\n";
  std::string others;
  for (const std::string other : {"oncemark", "dlq-replay", "outbox-relay", "reconcile"}) {
    if (other != name) others += (others.empty() ? "" : ", ") + bold(other) + "(1)";
  }
  out << others << '\n';
  return out.str();
}

std::string bash_completion(const std::vector<const CLI::App*>& programs) {
  const std::vector<Node> nodes = nodes_of(programs);
  std::ostringstream out;
  out << "# Completion for bash. Written by the program itself, from what --help says.\n_oncemark() {\n"
      << "  local cur=\"${COMP_WORDS[COMP_CWORD]}\" prev=\"${COMP_WORDS[COMP_CWORD-1]}\" verbs= flags= files=\n"
      << path_loop(nodes, "COMP_WORDS[0]", "COMP_WORDS", "i = 1; i < COMP_CWORD; i++") << "  case \"$prev\" in\n";
  for (const auto& [type, known] : values()) {
    const std::string pattern = flags_that_take(nodes, type);
    if (pattern.empty()) continue;
    out << "    " << pattern << ") COMPREPLY=($(compgen " << (known.empty() ? "-f" : "-W " + in_quotes(known))
        << " -- \"$cur\")); return ;;\n";
  }
  if (const std::string others = flags_that_take(nodes, ""); !others.empty()) {
    out << "    " << others << ") COMPREPLY=(); return ;;\n";
  }
  out << "  esac\n  case \"$place\" in\n";
  for (const Node& node : nodes) {
    std::string verbs;
    const bool is_program = node.path.find(' ') == std::string::npos;
    std::string flags = is_program ? "" : "--config --json";
    for (const CLI::App* verb : shown_verbs(*node.app)) verbs += (verbs.empty() ? "" : " ") + verb->get_name();
    for (const CLI::Option* flag : flags_of(*node.app)) {
      for (const std::string& name : flag->get_lnames()) flags += " --" + name;
    }
    out << "    " << in_quotes(node.path) << ") verbs=" << in_quotes(verbs) << " flags=" << in_quotes(flags)
        << (takes_file(*node.app) ? " files=1" : "") << " ;;\n";
  }
  out << "  esac\n"
         "  if [[ $cur == -* ]]; then\n    COMPREPLY=($(compgen -W \"$flags\" -- \"$cur\"))\n"
         "  elif [[ -n $files ]]; then\n    COMPREPLY=($(compgen -f -- \"$cur\"))\n"
         "  else\n    COMPREPLY=($(compgen -W \"$verbs\" -- \"$cur\"))\n  fi\n}\n"
         "complete -o filenames -F _oncemark";
  for (const CLI::App* program : programs) out << ' ' << program->get_name();
  out << '\n';
  return out.str();
}

std::string zsh_completion(const std::vector<const CLI::App*>& programs) {
  const std::vector<Node> nodes = nodes_of(programs);
  // name:description, where a colon in the name would need a backslash; there is none.
  const auto described = [](const std::string& name, const std::string& text) { return in_quotes(name + ":" + text); };
  std::ostringstream out;
  out << "#compdef";
  for (const CLI::App* program : programs) out << ' ' << program->get_name();
  out << "\n# Completion for zsh. Written by the program itself, from what --help says.\n_oncemark() {\n"
      << "  local -a verbs flags\n  local prev=\"${words[CURRENT-1]}\" files=\n"
      << path_loop(nodes, "words[1]", "words", "i = 2; i < CURRENT; i++") << "  case \"$prev\" in\n";
  for (const auto& [type, known] : values()) {
    const std::string pattern = flags_that_take(nodes, type);
    if (pattern.empty()) continue;
    out << "    " << pattern << ") " << (known.empty() ? std::string("_files") : "compadd -- " + known)
        << "; return ;;\n";
  }
  if (const std::string others = flags_that_take(nodes, ""); !others.empty()) {
    out << "    " << others << ") _message 'a value'; return ;;\n";
  }
  out << "  esac\n  case \"$place\" in\n";
  for (const Node& node : nodes) {
    out << "    " << in_quotes(node.path) << ")" << (takes_file(*node.app) ? " files=1" : "") << "\n      verbs=(";
    for (const CLI::App* verb : shown_verbs(*node.app)) {
      out << "\n        " << described(verb->get_name(), verb->get_description());
    }
    out << ")\n      flags=(";
    for (const CLI::Option* flag : flags_of(*node.app)) {
      for (const std::string& name : flag->get_lnames()) {
        out << "\n        " << described("--" + name, flag->get_description());
      }
    }
    out << ") ;;\n";
  }
  out << "  esac\n  flags+=('--config:configuration file' '--json:machine-readable output')\n"
         "  if [[ $PREFIX == -* ]]; then\n    _describe -o flag flags\n"
         "  elif [[ -n $files ]]; then\n    _files\n"
         "  else\n    _describe verb verbs\n  fi\n}\n_oncemark \"$@\"\n";
  return out.str();
}

}  // namespace oncemark::tools
