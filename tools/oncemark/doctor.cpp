// oncemark doctor: is everything that we rest on as it should be, and what to do where it is not.
#include "doctor.hpp"

#include <algorithm>
#include <filesystem>
#include <iostream>

#include <oncemark/config/load.hpp>
#include <oncemark/core/error.hpp>
#include <oncemark/observe/log.hpp>

#include "messages.hpp"
#include "output.hpp"
#include "program.hpp"

namespace oncemark::tools {
namespace {

namespace fs = std::filesystem;

const char* name_of(Findings::Level level) {
  switch (level) {
    case Findings::Level::ok:
      return "OK";
    case Findings::Level::warn:
      return "WARN";
    case Findings::Level::fail:
      return "FAIL";
  }
  return "";
}

struct DoctorFlags {
  std::vector<std::string> areas;
  std::string group;
  std::vector<std::string> topics;
};

int examine(const Globals& globals, const DoctorFlags& flags) {
  log_as_messages();
  Findings findings([&](const Findings::Line& line) {
    if (globals.json) {
      print_json({{"level", name_of(line.level)},
                  {"area", line.area},
                  {"check", line.check},
                  {"text", line.text},
                  {"cure", line.cure.empty() ? Json() : Json(line.cure)}});
      return;
    }
    const std::string level = name_of(line.level);
    std::cout << level << std::string(6 - level.size(), ' ') << line.area << ": " << line.check << ": "
              << printable(line.text, 600) << '\n';
    if (!line.cure.empty()) std::cout << "      try:  " << printable(line.cure, 600) << '\n';
    std::cout.flush();
  });
  const auto wants = [&](const std::string& area) {
    return flags.areas.empty() || std::ranges::find(flags.areas, area) != flags.areas.end();
  };
  for (const std::string& area : flags.areas) {
    if (area != "config" && area != "mysql" && area != "kafka" && area != "redis") {
      throw UsageError("doctor looks at config, mysql, kafka and redis, not at \"" + printable(area, 40) + "\"");
    }
  }
  if (!flags.topics.empty() && flags.group.empty()) throw UsageError("--topic needs --group: whose topics to look at");
  findings.begin("config");
  config::Settings settings;
  if (findings.attempt("file", "oncemark config show", [&] { settings = globals.settings(); })) {
    if (wants("config")) examine_config(settings, findings);
    KnownTopics topics;
    if (wants("mysql") || wants("kafka")) {
      Findings silent([](const Findings::Line&) {});
      topics = examine_mysql(settings, wants("mysql") ? findings : silent);
    }
    for (const std::string& topic : flags.topics) topics.failing.push_back({flags.group, topic});
    if (wants("kafka")) examine_kafka(settings, topics, findings);
    if (wants("redis")) examine_redis(settings, findings);
  }
  const std::size_t failed = findings.count(Findings::Level::fail);
  const std::size_t warned = findings.count(Findings::Level::warn);
  const int code = failed > 0 ? kUnhealthy : kDone;
  if (globals.json) {
    print_json({{"event", "summary"},
                {"exit_code", code},
                {"ok", findings.count(Findings::Level::ok)},
                {"warn", warned},
                {"fail", failed}});
  } else {
    std::cout << findings.count(Findings::Level::ok) << " OK, " << warned << " WARN, " << failed << " FAIL\n";
  }
  return code;
}

void examine_secret(const std::string& key, const std::string& path, Findings& findings) {
  if (path.empty()) return;
  std::error_code error;
  const fs::perms mode = fs::status(path, error).permissions();
  if (error || !fs::exists(path, error)) {
    findings.fail(key, "file " + path + " cannot be looked at", "write the password to it, and: chmod 600 " + path);
  } else if ((mode & (fs::perms::group_read | fs::perms::group_write | fs::perms::others_read |
                      fs::perms::others_write)) != fs::perms::none) {
    findings.warn(key, "file " + path + " can be read by others than its owner", "chmod 600 " + path);
  } else {
    findings.ok(key, "file " + path + " is its owner's alone");
  }
}

bool is_here(const std::string& url) {
  return url.starts_with("unix://") || url.find("//127.") != std::string::npos ||
         url.find("//localhost") != std::string::npos || url.find("//[::1]") != std::string::npos;
}

}  // namespace

bool Findings::attempt(const std::string& check, const std::string& cure, const std::function<void()>& work) {
  try {
    work();
    return true;
  } catch (const std::exception& error) {
    fail(check, error.what(), cure);
    return false;
  }
}

void examine_config(const config::Settings& settings, Findings& findings) {
  if (settings.file.empty()) {
    findings.warn("file", "none was found: defaults, and what the environment says", "oncemark config show");
  } else {
    findings.ok("file", settings.file);
  }
  examine_secret("mysql.password_file", settings.mysql.password_file, findings);
  examine_secret("kafka.password_file", settings.kafka.password_file, findings);
  if (settings.origin_of("redis.url") != "default") {
    examine_secret("redis.password_file", settings.redis.password_file, findings);
  }
  if (settings.mysql.tls_ca.empty() && !is_here(settings.mysql.url)) {
    findings.warn("mysql.tls_ca", "the way to " + settings.mysql.url + " is clear text",
                  "set mysql.tls_ca to the file of the certificate authority");
  }
  findings.attempt("retention", "oncemark config show", [&] { settings.retention.validate(); });
  findings.attempt("reconcile", "oncemark config show", [&] { settings.reconcile.validate(); });
}

void add_doctor_verb(CLI::App& parent, Program& program) {
  CLI::App& verb =
      add_verb(parent, "doctor",
               "look at configuration, database, broker and Redis; each finding with the command that repairs it",
               "  oncemark doctor\n"
               "  oncemark doctor mysql\n"
               "  oncemark doctor kafka --group shipping --topic orders\n"
               "  oncemark doctor --json | jq -r 'select(.level == \"FAIL\") | .cure'\n"
               "\nChanges nothing. Exit code 4: something fails; warnings alone are 0.");
  auto flags = std::make_shared<DoctorFlags>();
  verb.add_option("AREA", flags->areas, "only these: config, mysql, kafka, redis");
  verb.add_option("--group", flags->group, "look at the topics of this group, too")->type_name("NAME");
  verb.add_option("--topic", flags->topics, "that it reads; may be given several times")
      ->type_name("TOPIC")
      ->allow_extra_args(false);
  verb.callback([&program, flags] { program.chosen = [&program, flags] { return examine(program.globals, *flags); }; });
}

}  // namespace oncemark::tools
