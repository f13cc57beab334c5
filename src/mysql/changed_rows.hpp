#pragma once

#include <oncemark/mysql/session.hpp>

namespace oncemark::mysql {

/// Throws MisuseError when the session counts found rows instead of changed ones.
///
/// Shape:   an UPDATE of oncemark_schema that changes nothing must affect no row. With CLIENT_FOUND_ROWS, which a proxy
///          between us and the server may set, it affects one, and a duplicate would look like a fresh message.
void require_changed_rows(Session& session);

}  // namespace oncemark::mysql
