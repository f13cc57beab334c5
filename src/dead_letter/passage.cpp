#include "dead_letter/passage.hpp"

#include <utility>

#include <oncemark/outbox/writer.hpp>

namespace oncemark::dead_letter {

void send_on(mysql::Transaction& tx, const Message& message, Passage passage) {
  outbox::append_failure_row(tx, {.message_id = message.id,
                                  .purpose = std::move(passage.purpose),
                                  .relay = passage.relay.empty() ? std::string(passage.consumer) : passage.relay,
                                  .topic = std::move(passage.topic),
                                  .key = message.key,
                                  .business_key = message.business_key,
                                  .payload = message.payload,
                                  .headers = std::move(passage.headers),
                                  .event_time = message.event_time,
                                  .due = passage.due});
}

Letter keep_letter(mysql::Transaction& tx, const Message& message, const Burial& burial) {
  const Envelope& last = burial.envelope;
  Letter letter{.consumer = std::string(burial.consumer),
                .group = last.group,
                .dlq_topic = burial.topics.dead_letter_topic(last.group, message.origin.topic),
                .state = burial.state,
                .message = message,
                .attempts = last.attempt,
                .error_class = last.error_class,
                .error_text = last.error_text,
                .stage = last.stage,
                .fingerprint = fingerprint(last.error_class, last.error_text),
                // Without an earlier failure this one is the first.
                .first_error_class = burial.first ? burial.first->error_class : last.error_class,
                .first_error_text = burial.first ? burial.first->text : last.error_text,
                .first_failed_at = last.first_failed_at,
                .died_at = burial.died_at};
  letter.message.life = last.life;
  insert_letter(tx, letter);
  ledger::settle_previous_letter(tx, burial.consumer, message.business_key, last.life);
  return letter;
}

}  // namespace oncemark::dead_letter
