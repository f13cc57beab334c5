#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include <oncemark/config/settings.hpp>
#include <oncemark/mysql/pool.hpp>

namespace oncemark::tools {

/// How every program ends. Also 128 + the signal, when one stopped it after a checkpoint.
enum ExitCode : int {
  kDone = 0,         // everything that was asked for, also when there was nothing to do
  kFailed = 1,       // a bug, or input and output
  kUsage = 2,        // wrong command line or configuration
  kPartly = 3,       // finished, but some letters could not be replayed
  kUnhealthy = 4,    // `status` found something to do
  kNothing = 5,      // nothing matched, with --fail-if-empty
  kRefused = 6,      // needs a confirmation
  kUnreachable = 7,  // database or broker away; nothing or a part was done
  kLocked = 8,       // another run is at work
};

/// Wrong use of the command line: ends with kUsage.
class UsageError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Something that needs a person's confirmation first: ends with kRefused.
class RefusedError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// What the flags that every command takes have been set to.
struct Globals {
  std::string config;  // empty: searched for
  bool json = false;

  [[nodiscard]] config::Settings settings() const;
};

/// The command line while it is being defined. A verb's callback puts its action into `chosen`.
struct Program {
  Globals globals;
  std::function<int()> chosen;
};

/// Who runs this: the person behind sudo, else the account.
[[nodiscard]] std::string default_operator();

/// Adds a verb to `parent` with help text and examples.
CLI::App& add_verb(CLI::App& parent, const std::string& name, const std::string& description,
                   const std::string& examples);

void add_config_verbs(CLI::App& parent, Program& program);
void add_dlq_verbs(CLI::App& parent, Program& program);
void add_half_verbs(CLI::App& parent, Program& program);
void add_doctor_verb(CLI::App& parent, Program& program);
void add_find_verb(CLI::App& parent, Program& program);
void add_parked_verbs(CLI::App& parent, Program& program);
void add_partitions_verbs(CLI::App& parent, Program& program);
void add_relay_verbs(CLI::App& parent, Program& program);
void add_reconcile_verbs(CLI::App& parent, Program& program);
void add_schema_verbs(CLI::App& parent, Program& program);
void add_retry_verbs(CLI::App& parent, Program& program);
void add_skip_verb(CLI::App& parent, Program& program);
void add_sweep_verbs(CLI::App& parent, Program& program);

/// Connections for a tool: an error in the settings says where the setting stands.
[[nodiscard]] std::unique_ptr<mysql::Pool> open_pool(const config::Settings& settings);
/// Does what uses the database first: an error that the settings may be to blame for says where they stand.
void first_contact(const config::Settings& settings, const std::function<void()>& work);
/// Waits for the database to come up. Wrong settings end it by an exception; false when stopped.
[[nodiscard]] bool await_database(const config::Settings& settings, mysql::Pool& pool, std::stop_token stop);

/// Prints "error: …" for the exception that is being handled; the exit code for it.
int report_current_exception() noexcept;

/// Text and exit code of an exception, for programs that have to say it in another form.
struct Failure {
  int exit_code = kFailed;
  std::string text;
};
[[nodiscard]] Failure failure_of_current_exception() noexcept;

}  // namespace oncemark::tools
