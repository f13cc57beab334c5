#include <oncemark/message/position.hpp>

namespace oncemark {

std::string Position::str() const { return topic + "/" + std::to_string(partition) + "@" + std::to_string(offset); }

}  // namespace oncemark
