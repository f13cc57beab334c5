#pragma once

#include <oncemark/message/ports.hpp>

namespace oncemark::outbox {

/// A smaller form of a record on its way to a retry or dead-letter topic.
enum class Form {
  trimmed,  ///< error texts cut to 64 bytes; the record itself is whole
  pointer,  ///< coordinates and error without payload and foreign headers; om-record-left-out says how large it was
};

/// Makes a failure record smaller, because its topic takes none of this size.
///
/// Shape:   a pointer keeps the key, by which it finds its partition, up to 1 KiB; headers of ours, of Kafka's and
///          Spring's dead letters, and the trace context.
/// Threads: pure.
/// Errors:  none.
/// Source:  KIP-1191, whose dead letters without a copied record are such pointers.
void shorten(OutgoingRecord& record, Form form);

}  // namespace oncemark::outbox
