#include <oncemark/config/capture.hpp>

#include <cstdlib>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <oncemark/core/error.hpp>

namespace oncemark::config {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class CaptureFile : public ::testing::Test {
 protected:
  CaptureFile() {
    std::string pattern = (fs::temp_directory_path() / "oncemark-capture.XXXXXX").string();
    folder_ = mkdtemp(pattern.data());
  }
  ~CaptureFile() override { fs::remove_all(folder_); }

  [[nodiscard]] fs::path write(const std::string& text) const {
    std::ofstream(folder_ / "c.toml") << text;
    return folder_ / "c.toml";
  }
  [[nodiscard]] std::string refusal(const std::string& text) const {
    try {
      (void)load_capture(write(text));
    } catch (const ConfigError& error) {
      return error.what();
    }
    return "accepted";
  }

  fs::path folder_;
};

TEST_F(CaptureFile, NamesTablesAndWhatOfThemBecomesMessages) {
  const binlog::CaptureOptions options = load_capture(write(R"(
name = "orders"
batch = 500
report_timeout = "20s"
[[tables]]
table = "orders"
topic = "orders.paid"
key = "order_id"
changes = "update"
columns = ["order_id", "state"]
where = ["before.state <> 'paid'", "after.state = 'paid'"]
[[tables]]
table = "clicks"
topic = "clicks"
)"));

  EXPECT_EQ(options.name, "orders");
  EXPECT_EQ(options.batch, 500u);
  EXPECT_EQ(options.report_timeout, 20s);
  ASSERT_EQ(options.tables.size(), 2u);
  const binlog::CapturedTable& orders = options.tables.front();
  EXPECT_EQ(orders.table + " " + orders.topic + " " + orders.key, "orders orders.paid order_id");
  EXPECT_THAT(orders.changes, ElementsAre(binlog::Change::update));
  EXPECT_THAT(orders.columns, ElementsAre("order_id", "state"));
  EXPECT_THAT(orders.where, ElementsAre("before.state <> 'paid'", "after.state = 'paid'"));
  EXPECT_TRUE(options.tables.back().changes.empty());
}

TEST_F(CaptureFile, SaysWhatIsWrongAndWhere) {
  const std::string table = "[[tables]]\ntable = \"orders\"\ntopic = \"t\"\n";

  EXPECT_THAT(refusal("nam = \"x\"\n" + table),
              AllOf(HasSubstr("\"nam\""), HasSubstr("\"name\""), HasSubstr("line 1")));
  EXPECT_THAT(refusal(table + "wher = \"x\""), AllOf(HasSubstr("\"where\""), HasSubstr("line 4")));
  EXPECT_THAT(refusal(table + "key = 5"), AllOf(HasSubstr("key must be a text"), HasSubstr("line 4")));
  EXPECT_THAT(refusal(table + "columns = [5]"), HasSubstr("list of texts"));
  EXPECT_THAT(refusal(table + "changes = \"upsert\""), HasSubstr("insert, update and delete, not \"upsert\""));
  EXPECT_THAT(refusal(table + "where = \"state = 5\""),
              AllOf(HasSubstr("neither before. nor after."), HasSubstr("c.toml")));
  EXPECT_THAT(refusal("[[tables]]\ntable = \"orders\""), HasSubstr("needs a table and a topic"));
  EXPECT_THAT(refusal(table + table), HasSubstr("\"orders\" twice"));
  EXPECT_THAT(refusal("batch = 0\n" + table), HasSubstr("batch is 0"));
  EXPECT_THAT(refusal("batch = 100000\n" + table), HasSubstr("from 0 to 10000"));
  EXPECT_THAT(refusal("report_timeout = \"soon\"\n" + table), HasSubstr("200ms"));
  EXPECT_THAT(refusal("name = \"orders\""), HasSubstr("names no table"));
  EXPECT_THAT(refusal("tables = \"orders\""), HasSubstr("[[tables]]"));
  EXPECT_THAT(refusal("[[tables"), HasSubstr("invalid TOML"));
  EXPECT_THROW((void)load_capture(folder_), ConfigError);
  EXPECT_THROW((void)load_capture(folder_ / "absent.toml"), ConfigError);
}

}  // namespace
}  // namespace oncemark::config
