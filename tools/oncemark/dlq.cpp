#include "dlq.hpp"

#include <oncemark/mysql/migration.hpp>

#include "messages.hpp"

namespace oncemark::tools {

Letters::Letters(const Globals& globals) : settings(globals.settings()), pool(open_pool(settings)) {
  log_as_messages();
  first_contact(settings, [&] { mysql::require_schema(*pool); });
}

void add_dlq_verbs(CLI::App& parent, Program& program) {
  add_topics_verb(parent, program);
  add_groups_verb(parent, program);
  add_list_verb(parent, program);
  add_show_verb(parent, program);
  add_plan_verb(parent, program);
  add_run_verb(parent, program);
  add_resume_verb(parent, program);
  add_jobs_verb(parent, program);
  add_job_verbs(parent, program);
  add_keep_verbs(parent, program);
  add_edit_verb(parent, program);
  add_export_verb(parent, program);
  add_import_verb(parent, program);
}

Json letter_json(const dead_letter::Letter& letter) {
  const Message& message = letter.message;
  return {{"id", letter.id},
          {"state", to_string(letter.state)},
          {"consumer", letter.consumer},
          {"group", letter.group},
          {"message_id", to_json(Bytes(message.id))},
          {"business_key", to_json(Bytes(message.business_key))},
          {"life", message.life},
          {"attempts", letter.attempts},
          {"origin",
           {{"topic", message.origin.topic},
            {"partition", message.origin.partition},
            {"offset", message.origin.offset},
            {"timestamp", to_json(message.origin_timestamp)}}},
          {"dlq_topic", letter.dlq_topic},
          {"event_time", to_json(message.event_time)},
          {"error",
           {{"class", to_json(Bytes(letter.error_class))},
            {"text", to_json(Bytes(letter.error_text))},
            {"stage", letter.stage},
            {"fingerprint", letter.fingerprint}}},
          {"first_error", letter.first_error_class.empty() ? Json()
                                                           : Json{{"class", to_json(Bytes(letter.first_error_class))},
                                                                  {"text", to_json(Bytes(letter.first_error_text))}}},
          {"first_failed_at", to_json(letter.first_failed_at)},
          {"died_at", to_json(letter.died_at)}};
}

Json group_json(const dead_letter::LetterGroup& group) {
  return {{"fingerprint", group.fingerprint},
          {"letters", group.letters},
          {"first_died_at", to_json(group.first_died_at)},
          {"last_died_at", to_json(group.last_died_at)},
          {"error_class", to_json(Bytes(group.error_class))},
          {"error_text", to_json(Bytes(group.error_text))}};
}

Json job_json(const dead_letter::ReplayJob& job) {
  return {{"job", job.id},
          {"consumer", job.consumer.empty() ? Json() : Json(job.consumer)},
          {"topic", job.topic.empty() ? Json() : Json(job.topic)},
          {"state", job.state},
          {"selected", job.selected},
          {"replayed", job.replayed},
          {"skipped", job.skipped},
          {"guarded", job.guarded},
          {"refused", job.refused},
          {"settled", job.checkpoint},
          {"note", job.note.empty() ? Json() : to_json(Bytes(job.note))},
          {"rate", job.rate > 0 ? Json(job.rate) : Json()},
          {"operator", to_json(Bytes(job.operator_name))},
          {"reason", to_json(Bytes(job.reason))},
          {"created_at", to_json(job.created_at)},
          {"updated_at", to_json(job.updated_at)}};
}

}  // namespace oncemark::tools
