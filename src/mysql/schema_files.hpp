#pragma once

#include <string>
#include <vector>

namespace oncemark::mysql {

struct SchemaFile {
  std::string name;
  std::string text;
};

/// src/schema/*.sql in name order; generated at configure time.
const std::vector<SchemaFile>& schema_files();

}  // namespace oncemark::mysql
