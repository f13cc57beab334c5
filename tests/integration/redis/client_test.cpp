#include <oncemark/redis/client.hpp>

#include <algorithm>
#include <atomic>
#include <mutex>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <oncemark/core/error.hpp>
#include <oncemark/redis/errors.hpp>

#include "support/private_redis.hpp"
#include "support/unique_topic.hpp"

namespace oncemark::redis {
namespace {

using namespace std::chrono_literals;
using std::chrono::steady_clock;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using testing::PrivateRedis;
using testing::Stack;

struct Refused {
  ErrorKind kind{};
  std::string code;
  std::string text;
};

template <typename Work>
Refused error_of(Work&& work) {
  try {
    work();
  } catch (const RedisError& error) {
    return {error.kind(), error.code(), error.what()};
  }
  return {.kind = ErrorKind::permanent, .code = "nothing was thrown", .text = {}};
}

TEST(RedisClient, StoresBytesOfAnyKind) {
  Client client(Stack::redis());
  const std::string key = testing::unique_name("bytes") + std::string("\0\r\n$-1", 7);
  const std::string value("\0\xff\r\n", 4);

  EXPECT_EQ(client.command({"SET", key, value, "EX", "60"}).text, "OK");
  EXPECT_EQ(client.command({"GET", key}).text, value);
  EXPECT_EQ(client.command({"DEL", key}).number, 1);
  EXPECT_EQ(client.command({"GET", key}).kind, Reply::Kind::nil);
}

TEST(RedisClient, AnswersAPipelineInOrderAndItsErrorsAsValues) {
  Client client(Stack::redis());
  const std::string key = testing::unique_name("pipeline");
  const std::vector<Command> commands{
      {"SET", key, "text", "EX", "60"}, {"INCR", key}, {"MGET", key, key + "-absent"}, {"DEL", key}};

  const auto replies = client.pipeline(commands);

  ASSERT_EQ(replies.size(), 4u);
  EXPECT_EQ(replies[0].text, "OK");
  EXPECT_EQ(replies[1].kind, Reply::Kind::error);
  ASSERT_EQ(replies[2].items.size(), 2u);
  EXPECT_EQ(replies[2].items[0].text, "text");
  EXPECT_EQ(replies[2].items[1].kind, Reply::Kind::nil);
  EXPECT_EQ(replies[3].number, 1);
}

TEST(RedisClient, CarriesMoreThanTheSocketsBuffersHold) {
  Client client(Stack::redis());
  const std::string key = testing::unique_name("large");
  const std::string value(8u << 20, 'x');
  const std::vector<Command> commands{{"SET", key, value, "EX", "60"}, {"GET", key}, {"DEL", key}};

  EXPECT_EQ(client.pipeline(commands).at(1).text.size(), value.size());
}

TEST(RedisClient, SpeaksThroughASocketAndInANumberedDatabase) {
  ClientOptions options = Stack::redis();
  options.url = "unix://" + Stack::redis_socket();
  options.database = 3;
  Client third(options);
  Client first(Stack::redis());
  const std::string key = testing::unique_name("database");

  (void)third.command({"SET", key, "3", "EX", "60"});
  EXPECT_EQ(first.command({"EXISTS", key}).number, 0);
  EXPECT_EQ(third.command({"DEL", key}).number, 1);
}

TEST(RedisClient, SaysWhichOptionIsBehindATimeOut) {
  const PrivateRedis server;
  ClientOptions options = server.options();
  options.command_timeout = 50ms;
  Client client(options);
  (void)client.command({"PING"});
  server.hang();
  const auto begin = steady_clock::now();

  const Refused refused = error_of([&] { (void)client.command({"MGET", "a", "b", "c"}); });

  EXPECT_LT(steady_clock::now() - begin, 1s);
  EXPECT_EQ(refused.code, "timeout");
  EXPECT_THAT(refused.text, AllOf(HasSubstr("MGET with 3 words on redis unix://"), HasSubstr("timed out after 50 ms"),
                                  HasSubstr("ClientOptions::command_timeout")));
  server.go_on();
  EXPECT_EQ(client.command({"ECHO", "fresh"}).text, "fresh");  // not the late answer to MGET
}

TEST(RedisClient, DoesNotWaitForAServerThatNeverGreets) {
  const PrivateRedis server;
  server.hang();
  ClientOptions options = server.options();
  options.connect_timeout = 50ms;
  Client client(options);
  const auto begin = steady_clock::now();

  const Refused refused = error_of([&] { (void)client.command({"PING"}); });

  EXPECT_LT(steady_clock::now() - begin, 1s);
  EXPECT_EQ(refused.code, "timeout");
  EXPECT_THAT(refused.text, HasSubstr("ClientOptions::connect_timeout"));
}

TEST(RedisClient, NamesTheServerThatIsNotThere) {
  Client client({.url = "tcp://127.0.0.1:1"});

  const Refused refused = error_of([&] { (void)client.command({"PING"}); });

  EXPECT_EQ(refused.code, "connection");
  EXPECT_THAT(refused.text,
              AllOf(HasSubstr("connecting on redis tcp://127.0.0.1:1"), HasSubstr("refused"), HasSubstr("check url")));
}

TEST(RedisClient, RefusedCredentialsAreMisuseAndNotShown) {
  ClientOptions options = Stack::redis();
  options.password_file.clear();
  options.password = "s3cret";
  Client client(options);

  const Refused refused = error_of([&] { (void)client.command({"PING"}); });

  EXPECT_EQ(refused.kind, ErrorKind::misuse);
  EXPECT_EQ(refused.code, "WRONGPASS");
  EXPECT_THAT(refused.text, AllOf(HasSubstr("password_file"), Not(HasSubstr("s3cret"))));
}

TEST(RedisClient, AMissingLoginIsMisuse) {
  Client client({.url = Stack::redis().url, .connect_timeout = 5s});

  EXPECT_EQ(error_of([&] { (void)client.command({"GET", "a"}); }).code, "NOAUTH");
}

TEST(RedisClient, ADatabaseThatIsNotThereIsMisuse) {
  ClientOptions options = Stack::redis();
  options.database = 999;
  Client client(options);

  const Refused refused = error_of([&] { (void)client.command({"PING"}); });

  EXPECT_EQ(refused.kind, ErrorKind::misuse);
  EXPECT_THAT(refused.text, HasSubstr("check database"));
}

TEST(RedisClient, APasswordFileThatCannotBeReadIsAConfigError) {
  ClientOptions options = Stack::redis();
  options.password_file = "/nonexistent/password";
  Client client(options);

  EXPECT_THROW((void)client.command({"PING"}), ConfigError);
}

TEST(RedisClient, ThrowsWhatTheServerAnswersToOneCommand) {
  const PrivateRedis server({"--maxmemory", "1mb", "--maxmemory-policy", "noeviction"});
  Client client(server.options());

  const Refused refused = error_of([&] {
    for (int i = 0; i < 100; ++i) (void)client.command({"SET", std::to_string(i), std::string(100'000, 'x')});
  });

  EXPECT_EQ(refused.code, "OOM");
  EXPECT_THAT(refused.text, AllOf(HasSubstr("SET on redis"), HasSubstr("maxmemory-policy")));
}

TEST(RedisClient, ReplacesConnectionsThatARestartHasClosed) {
  PrivateRedis server;
  Client client(server.options());
  (void)client.command({"SET", "a", "1"});

  server.kill();
  server.start();

  EXPECT_EQ(client.command({"EXISTS", "a"}).number, 0);  // at the first try: nothing is sent on a dead connection
}

TEST(RedisClient, SurvivesAServerThatDiesBetweenTheCommandsOfAPipeline) {
  PrivateRedis server;
  Client client(server.options());
  const std::vector<Command> commands{{"SET", "a", "1"}, {"SHUTDOWN", "NOSAVE"}, {"GET", "a"}};

  EXPECT_EQ(error_of([&] { (void)client.pipeline(commands); }).code, "closed");
}

TEST(RedisClient, LendsNoMoreConnectionsThanItMay) {
  const PrivateRedis server;
  ClientOptions options = server.options();
  options.size = 2;
  Client client(options);
  std::atomic<int> answered{0};
  {
    std::vector<std::jthread> lanes;
    for (int i = 0; i < 6; ++i) {
      lanes.emplace_back([&] {
        for (int n = 0; n < 50; ++n) answered += client.command({"PING"}).text == "PONG" ? 1 : 0;
      });
    }
  }

  EXPECT_EQ(answered, 300);
  const std::string clients = client.command({"CLIENT", "LIST", "TYPE", "normal"}).text;
  EXPECT_LE(std::ranges::count(clients, '\n'), 2);
}

TEST(RedisClient, SaysWhenAllConnectionsAreTaken) {
  const PrivateRedis server;
  ClientOptions options = server.options();
  options.size = 1;
  options.command_timeout = 500ms;
  Client client(options);
  server.hang();
  std::mutex mutex;
  std::vector<std::string> codes;  // guarded by mutex
  {
    std::vector<std::jthread> lanes;
    for (int i = 0; i < 4; ++i) {
      lanes.emplace_back([&] {
        const std::string code = error_of([&] { (void)client.command({"PING"}); }).code;
        const std::lock_guard lock(mutex);
        codes.push_back(code);
      });
    }
  }

  EXPECT_THAT(codes, ::testing::Contains("busy"));
}

}  // namespace
}  // namespace oncemark::redis
