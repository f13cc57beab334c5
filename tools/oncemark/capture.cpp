// oncemark capture: changes of tables as messages, out of the binlog.
#include <algorithm>
#include <iostream>

#include <oncemark/binlog/capture.hpp>
#include <oncemark/config/capture.hpp>
#include <oncemark/core/loop.hpp>
#include <oncemark/core/signals.hpp>
#include <oncemark/kafka/producer.hpp>
#include <oncemark/observe/log.hpp>

#include "capture.hpp"
#include "messages.hpp"
#include "output.hpp"
#include "program.hpp"

namespace oncemark::tools {
namespace {

using namespace std::chrono_literals;

constexpr auto kReportEvery = 60s;
constexpr auto kLookEvery = 500ms;

struct CaptureFlags {
  std::string file;
  bool from_now = false;
};

std::string place_text(const binlog::Place& place) {
  return place.gtids.empty() ? binlog::to_string(place) : binlog::to_string(place) + " (" + place.gtids + ")";
}

void report(const binlog::Capture& capture, const std::string& name, std::string_view text) {
  const binlog::CaptureCounts counts = capture.counts();
  log(LogLevel::info, text,
      {{"capture", name},
       {"sent", counts.sent},
       {"filtered", counts.filtered},
       {"place", binlog::to_string(counts.place)},
       {"gtids", counts.place.gtids}});
}

int run_capture(const Globals& globals, const CaptureFlags& flags) {
  const StopOnSignal signals;  // before any other thread
  config::Settings settings = globals.settings();
  binlog::CaptureOptions options = config::load_capture(flags.file);
  options.from_now = flags.from_now;
  settings.mysql.size = std::max<std::size_t>(settings.mysql.size, 2);
  const auto pool = open_pool(settings);
  if (!await_database(settings, *pool, signals.token())) return kDone;

  const std::string name = options.name;
  kafka::Producer producer(settings.kafka);
  binlog::Capture capture(*pool, producer, std::move(options));
  for (auto next_report = std::chrono::steady_clock::now() + kReportEvery;
       !capture.failure() && wait_for(signals.token(), kLookEvery);) {
    if (std::chrono::steady_clock::now() < next_report) continue;
    report(capture, name, "capture so far");
    next_report += kReportEvery;
  }
  capture.stop();
  report(capture, name, "capture stopped");
  if (globals.json) {
    const binlog::CaptureCounts counts = capture.counts();
    print_json({{"capture", name}, {"sent", counts.sent}, {"filtered", counts.filtered}});
  }
  return capture.failure() ? kFailed : kDone;
}

int show_status(const Globals& globals, const CaptureFlags& flags) {
  log_as_messages();
  const config::Settings settings = globals.settings();
  const auto pool = open_pool(settings);
  const std::string name = config::load_capture(flags.file).name;
  binlog::CaptureStatus status;
  first_contact(settings, [&] { status = binlog::ask_capture(*pool, name); });
  if (globals.json) {
    Json line{{"capture", name},
              {"running", status.running},
              {"end", {{"file", status.end.file}, {"position", status.end.position}, {"gtids", status.end.gtids}}}};
    if (status.place) {
      line["place"] = {
          {"file", status.place->file}, {"position", status.place->position}, {"gtids", status.place->gtids}};
      line["moved_at"] = to_json(*status.moved_at);
    }
    print_json(line);
  } else {
    std::cout << "capture " << name << (status.running > 0 ? " runs" : " does not run")
              << (status.running > 1 ? ", with " + std::to_string(status.running - 1) + " beside it as stand-by" : "")
              << '\n';
    if (status.place) {
      std::cout << "sent up to  " << printable(place_text(*status.place), 1'000) << ", noted at "
                << short_time(*status.moved_at) << '\n';
    } else {
      std::cout << "sent up to  nothing yet: it begins at the end of the binlog\n";
    }
    std::cout << "binlog ends " << printable(place_text(status.end), 1'000) << '\n';
  }
  return status.running > 0 ? kDone : kUnhealthy;
}

}  // namespace

void add_capture_verbs(CLI::App& parent, Program& program) {
  const auto add = [&](const char* name, const char* description, const char* examples, auto action) {
    CLI::App& verb = add_verb(parent, name, description, examples);
    auto flags = std::make_shared<CaptureFlags>();
    verb.add_option("file", flags->file, "the capture: its name, and its [[tables]]")->type_name("FILE")->required();
    verb.callback([&program, flags, action] {
      program.chosen = [&program, flags, action] { return action(program.globals, *flags); };
    });
    return std::pair(&verb, flags);
  };
  const auto [run, flags] =
      add("run", "capture until SIGINT or SIGTERM; waits for database and broker when they are away",
          "  oncemark capture run orders.toml\n"
          "  oncemark capture run orders.toml --from-now   # past what cannot be read: what lies before is not told\n"
          "\nThe file says what is captured, see docs/operations.md; database and brokers stand in the settings.\n"
          "A second process with one name is the first one's stand-by.",
          run_capture);
  run->add_flag("--from-now", flags->from_now, "go on from the binlog's present end, whatever the checkpoint says");
  add("status", "whether it runs, how far it has come, and where the binlog ends; exit code 4 when it does not run",
      "  oncemark capture status orders.toml\n"
      "  oncemark capture status orders.toml --json | jq .place.gtids",
      show_status);
}

}  // namespace oncemark::tools
