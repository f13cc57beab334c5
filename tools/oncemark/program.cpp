#include "program.hpp"

#include <cstdlib>
#include <iostream>

#include <pwd.h>
#include <unistd.h>

#include <oncemark/config/load.hpp>
#include <oncemark/core/backoff.hpp>
#include <oncemark/core/error.hpp>
#include <oncemark/core/id.hpp>
#include <oncemark/core/loop.hpp>
#include <oncemark/dead_letter/replay.hpp>
#include <oncemark/mysql/errors.hpp>
#include <oncemark/mysql/migration.hpp>
#include <oncemark/observe/log.hpp>

namespace oncemark::tools {
namespace {

using namespace std::chrono_literals;

constexpr Backoff kWait{.initial = 500ms, .factor = 2.0, .cap = 10s, .jitter = 0.2};

std::string where(const config::Settings& settings, const std::string& key) {
  return "\n  config: " + key + ", " + std::string(settings.origin_of(key)) +
         (settings.file.empty() ? "; no configuration file was found" : "");
}

/// The setting that is probably wrong when the server answers so; nothing for other errors.
const char* setting_behind(int mysql_code) {
  switch (mysql_code) {
    case 1044:
    case 1049:
    case 1146:
      return "mysql.schema";
    case 1045:
    case 1698:
      return "mysql.password_file";
    case 2002:
    case 2003:
    case 2005:
      return "mysql.url";
    case 2026:
      return "mysql.tls_ca";
    default:
      return nullptr;
  }
}

}  // namespace

config::Settings Globals::settings() const {
  if (config.empty()) return config::load();
  return config::load(config);
}

std::string default_operator() {
  if (const char* name = std::getenv("SUDO_USER"); name != nullptr && *name != '\0') return name;
  const passwd* account = ::getpwuid(::geteuid());
  return account != nullptr ? account->pw_name : "uid " + std::to_string(::geteuid());
}

CLI::App& add_verb(CLI::App& parent, const std::string& name, const std::string& description,
                   const std::string& examples) {
  CLI::App& verb = *parent.add_subcommand(name, description);
  verb.footer("\nEverywhere: --config FILE, --json, --version, --help" +
              (examples.empty() ? "" : "\n\nExamples:\n" + examples));
  return verb;
}

std::unique_ptr<mysql::Pool> open_pool(const config::Settings& settings) {
  try {
    return std::make_unique<mysql::Pool>(settings.mysql);
  } catch (const ConfigError& error) {
    const std::string key = "mysql." + (error.key() == "size" ? "pool" : error.key());
    throw ConfigError(key, error.what() + where(settings, key));
  }
}

void first_contact(const config::Settings& settings, const std::function<void()>& work) {
  try {
    work();
  } catch (const mysql::MysqlError& error) {
    const char* key = setting_behind(error.code());
    if (key == nullptr) throw;
    throw mysql::MysqlError(error.kind(), error.code(), error.sqlstate(), error.what() + where(settings, key));
  }
}

bool await_database(const config::Settings& settings, mysql::Pool& pool, std::stop_token stop) {
  for (int failures = 1;; ++failures) {
    try {
      mysql::require_schema(pool);
      return true;
    } catch (const Error& error) {
      if (!error.retryable()) first_contact(settings, [] { throw; });
      log(LogLevel::warn, "waiting for the database", {{"failures", failures}, {"text", error.what()}});
    }
    if (!wait_for(stop, delay_after(kWait, failures, random_token()))) return false;
  }
}

Failure failure_of_current_exception() noexcept {
  try {
    throw;
  } catch (const UsageError& error) {
    return {kUsage, error.what()};
  } catch (const RefusedError& error) {
    return {kRefused, error.what()};
  } catch (const dead_letter::JobRunningError& error) {
    return {kLocked, error.what()};
  } catch (const Error& error) {
    switch (error.kind()) {
      case ErrorKind::misuse:
        return {kUsage, error.what()};
      case ErrorKind::transient:
      case ErrorKind::unavailable:
      case ErrorKind::in_doubt:
        return {kUnreachable, error.what()};
      case ErrorKind::permanent:
        return {kFailed, error.what()};
    }
    return {kFailed, error.what()};
  } catch (const std::exception& error) {
    return {kFailed, error.what()};
  } catch (...) {
    return {kFailed, "something that is no exception was thrown"};
  }
}

int report_current_exception() noexcept {
  const Failure failure = failure_of_current_exception();
  std::cout.flush();
  std::cerr << "error: " << failure.text << '\n';
  return failure.exit_code;
}

}  // namespace oncemark::tools
