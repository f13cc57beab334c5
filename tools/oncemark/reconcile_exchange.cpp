// reconcile export and compare: two databases that no one program may log in to.
#include <fstream>
#include <iostream>

#include <oncemark/core/error.hpp>
#include <oncemark/core/signals.hpp>
#include <oncemark/observe/log.hpp>
#include <oncemark/reconcile/exchange.hpp>

#include "dlq.hpp"
#include "messages.hpp"
#include "reconcile.hpp"

namespace oncemark::tools {
namespace {

struct ExchangeFlags {
  ReconcileFlags common;
  std::string file;
  std::string output;
  std::string consumer;
};

/// A file that is there as a whole or not at all: under another name until it is complete.
class Output {
 public:
  explicit Output(const std::string& path) : path_(path), stream_(path + ".part", std::ios::binary | std::ios::trunc) {
    if (!stream_) throw UsageError("cannot write " + printable(path + ".part", 200));
  }
  std::ostream& stream() { return stream_; }
  void keep() {
    stream_.close();
    if (!stream_ || std::rename((path_ + ".part").c_str(), path_.c_str()) != 0) {
      throw Error(ErrorKind::permanent, "cannot write " + printable(path_, 200));
    }
  }

 private:
  std::string path_;
  std::ofstream stream_;
};

int export_file(const Globals& globals, const ExchangeFlags& flags) {
  const StopOnSignal signals;
  const Letters tables(globals);
  const auto options = options_of(tables.settings, flags.common);
  Output output(flags.output);
  const reconcile::Grid grid = reconcile::export_sent(*tables.pool, options, output.stream(), signals.token());
  output.keep();
  if (globals.json) {
    print_json({{"file", flags.output}, {"from", to_json(grid.from)}, {"until", to_json(grid.until())}});
  } else {
    std::cout << "Wrote " << printable(flags.output, 200) << ": what was sent from " << short_time(grid.from) << " to "
              << short_time(grid.until()) << ".\n";
    say("Next, where it is consumed: reconcile compare FILE --consumer NAME --output ANSWER");
  }
  return kDone;
}

int answer_file(const Globals& globals, const ExchangeFlags& flags, std::istream& sent) {
  const StopOnSignal signals;
  if (flags.consumer.empty())
    throw UsageError("this file says what was sent: name who should have it, --consumer NAME");
  if (flags.common.repair || !flags.common.waive.empty()) {
    throw UsageError("a repair is made where the messages are sent from: reconcile compare ANSWER --repair there");
  }
  const Letters tables(globals);
  const auto options = options_of(tables.settings, flags.common);
  std::optional<Output> output;
  if (!flags.output.empty()) output.emplace(flags.output);
  reconcile::Report report;
  report.compared = reconcile::answer(*tables.pool, sent, flags.consumer, options, output ? &output->stream() : nullptr,
                                      signals.token());
  if (output) output->keep();
  std::uint64_t differing = 0;
  for (const reconcile::Compared& one : report.compared) {
    differing += one.differing;
    if (globals.json) {
      print_json({{"event", "compared"},
                  {"consumer", one.pair.consumer},
                  {"topic", one.pair.topic},
                  {"sent", one.sent},
                  {"settled", one.settled},
                  {"buckets", one.buckets},
                  {"differing", one.differing}});
    } else if (one.differing > 0) {
      std::cout << one.pair.consumer << " with topic " << one.pair.topic << ": " << grouped(one.differing) << " of "
                << grouped(one.buckets) << " buckets differ; " << grouped(one.sent) << " sent, " << grouped(one.settled)
                << " settled\n";
    }
  }
  if (differing > 0 && !globals.json) {
    say(output ? "Next, where they are sent from: reconcile compare " + printable(flags.output, 200)
               : std::string("Next: the same with --output ANSWER, which names the messages where they are sent from"));
  }
  return differing > 0 ? kUnhealthy : kDone;
}

int compare_file(const Globals& globals, const ExchangeFlags& flags) {
  log_as_messages();
  std::ifstream file(flags.file, std::ios::binary);
  if (!file) throw UsageError("cannot read the digest file " + printable(flags.file, 200));
  if (reconcile::side_of(file) == "sent") return answer_file(globals, flags, file);
  ReconcileFlags common = flags.common;
  common.file = flags.file;
  return run_reconcile(globals, common);
}

}  // namespace

void add_exchange_verbs(CLI::App& parent, Program& program) {
  CLI::App& sent = add_verb(parent, "export", "write digests of what was sent from this database, for another one",
                            "  reconcile export --topic orders --output orders.digest");
  auto exported = std::make_shared<ExchangeFlags>();
  sent.add_option("-o,--output", exported->output, "the file")->type_name("FILE")->required();
  add_selection(sent, exported->common);
  on_chosen(sent, program, std::move(exported), export_file);

  CLI::App& compare = add_verb(
      parent, "compare", "compare a file of another database with this one",
      "  reconcile compare orders.digest --consumer shipping --output orders.answer   # where it is consumed\n"
      "  reconcile compare orders.answer                                              # where it is sent from\n"
      "  reconcile compare orders.answer --repair --confirm shop --reason 'lost on the way'\n"
      "\nThe first file says how much was sent when, the answer what the consumer has of what differs.");
  auto compared = std::make_shared<ExchangeFlags>();
  compare.add_option("FILE", compared->file, "a digest file, or an answer")->required();
  compare.add_option("--consumer", compared->consumer, "of a digest file: who should have the messages")
      ->type_name("NAME");
  compare.add_option("-o,--output", compared->output, "of a digest file: where to write the answer")->type_name("FILE");
  compare.add_option("--only", compared->common.only, "only these differences, with commas")
      ->type_name("KINDS")
      ->delimiter(',')
      ->allow_extra_args(false);
  compare.add_option("--sla", compared->common.sla, "how long a message may take to be settled (default 15m)")
      ->type_name("DURATION");
  compare.add_flag("--ignore-contents", compared->common.ignore_contents, "compare keys only");
  add_repair(compare, compared->common);
  on_chosen(compare, program, std::move(compared), compare_file);
}

}  // namespace oncemark::tools
