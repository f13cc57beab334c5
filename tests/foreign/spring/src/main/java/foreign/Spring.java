package foreign;

import java.nio.charset.StandardCharsets;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.springframework.kafka.core.DefaultKafkaConsumerFactory;
import org.springframework.kafka.core.DefaultKafkaProducerFactory;
import org.springframework.kafka.core.KafkaTemplate;
import org.springframework.kafka.listener.ContainerProperties;
import org.springframework.kafka.listener.DeadLetterPublishingRecoverer;
import org.springframework.kafka.listener.DefaultErrorHandler;
import org.springframework.kafka.listener.KafkaMessageListenerContainer;
import org.springframework.kafka.listener.MessageListener;
import org.springframework.kafka.support.KafkaHeaders;
import org.springframework.kafka.support.converter.MessagingMessageConverter;
import org.springframework.messaging.Message;
import org.springframework.util.backoff.FixedBackOff;

/**
 * One run of a JVM for both directions: dead-letters every record of SOURCE to DLT with DeadLetterPublishingRecoverer,
 * then reads LETTERS, which somebody else wrote, with the accessors that a @DltHandler has, and prints one line a record.
 *
 * usage: foreign.Spring BROKERS SOURCE COUNT DLT LETTERS COUNT
 */
public final class Spring {
  private static Map<String, Object> consumer(String brokers, String group) {
    return Map.of(ConsumerConfig.BOOTSTRAP_SERVERS_CONFIG, brokers, ConsumerConfig.GROUP_ID_CONFIG, group,
        ConsumerConfig.AUTO_OFFSET_RESET_CONFIG, "earliest", ConsumerConfig.KEY_DESERIALIZER_CLASS_CONFIG,
        ByteArrayDeserializer.class, ConsumerConfig.VALUE_DESERIALIZER_CLASS_CONFIG, ByteArrayDeserializer.class);
  }

  private static KafkaMessageListenerContainer<byte[], byte[]> listen(
      String brokers, String group, String topic, MessageListener<byte[], byte[]> listener) {
    ContainerProperties properties = new ContainerProperties(topic);
    properties.setMessageListener(listener);
    return new KafkaMessageListenerContainer<>(
        new DefaultKafkaConsumerFactory<>(consumer(brokers, group)), properties);
  }

  private static void deadLetter(String brokers, String source, int count, String dlt) throws InterruptedException {
    KafkaTemplate<byte[], byte[]> template =
        new KafkaTemplate<>(new DefaultKafkaProducerFactory<>(Map.of(ProducerConfig.BOOTSTRAP_SERVERS_CONFIG, brokers,
            ProducerConfig.KEY_SERIALIZER_CLASS_CONFIG, ByteArraySerializer.class,
            ProducerConfig.VALUE_SERIALIZER_CLASS_CONFIG, ByteArraySerializer.class)));
    CountDownLatch recovered = new CountDownLatch(count);
    DeadLetterPublishingRecoverer recoverer =
        new DeadLetterPublishingRecoverer(template, (record, error) -> new TopicPartition(dlt, -1));
    DefaultErrorHandler errors = new DefaultErrorHandler((record, error) -> {
      recoverer.accept(record, error);
      recovered.countDown();
    }, new FixedBackOff(0, 0));
    KafkaMessageListenerContainer<byte[], byte[]> container =
        listen(brokers, "spring-" + source, source, record -> {
          throw new IllegalStateException("warehouse 17 refuses");
        });
    container.setCommonErrorHandler(errors);
    container.start();
    await(recovered, "dead-lettering");
    container.stop();
    template.flush();
  }

  private static String hex(Object bytes) {
    return bytes instanceof byte[] b ? HexFormat.of().formatHex(b) : "null";
  }

  private static Object text(Object value) {
    return value instanceof byte[] b ? new String(b, StandardCharsets.UTF_8) : value;
  }

  private static long number(Object value) {
    if (value instanceof byte[] b) {
      return b.length == 4 ? java.nio.ByteBuffer.wrap(b).getInt() : java.nio.ByteBuffer.wrap(b).getLong();
    }
    return ((Number) value).longValue();
  }

  private static void readLetters(String brokers, String letters, int count) throws InterruptedException {
    MessagingMessageConverter converter = new MessagingMessageConverter();
    CountDownLatch read = new CountDownLatch(count);
    KafkaMessageListenerContainer<byte[], byte[]> container =
        listen(brokers, "spring-" + letters, letters, record -> {
          Message<?> message = converter.toMessage(record, null, null, byte[].class);
          Map<String, Object> headers = message.getHeaders();
          System.out.println(String.join("|", List.of("letter",
              String.valueOf(text(headers.get(KafkaHeaders.DLT_ORIGINAL_TOPIC))),
              String.valueOf(number(headers.get(KafkaHeaders.DLT_ORIGINAL_PARTITION))),
              String.valueOf(number(headers.get(KafkaHeaders.DLT_ORIGINAL_OFFSET))),
              String.valueOf(number(headers.get(KafkaHeaders.DLT_ORIGINAL_TIMESTAMP))),
              String.valueOf(text(headers.get(KafkaHeaders.DLT_ORIGINAL_TIMESTAMP_TYPE))),
              String.valueOf(text(headers.get(KafkaHeaders.DLT_ORIGINAL_CONSUMER_GROUP))),
              String.valueOf(text(headers.get(KafkaHeaders.DLT_EXCEPTION_FQCN))),
              String.valueOf(text(headers.get(KafkaHeaders.DLT_EXCEPTION_MESSAGE))), hex(record.key()),
              hex(record.value()))));
          read.countDown();
        });
    container.start();
    await(read, "reading");
    container.stop();
  }

  private static void await(CountDownLatch latch, String what) throws InterruptedException {
    if (!latch.await(60, TimeUnit.SECONDS)) {
      throw new IllegalStateException(what + ": " + latch.getCount() + " records are missing after a minute");
    }
  }

  public static void main(String[] arguments) throws Exception {
    deadLetter(arguments[0], arguments[1], Integer.parseInt(arguments[2]), arguments[3]);
    System.out.println("dead-lettered");
    readLetters(arguments[0], arguments[4], Integer.parseInt(arguments[5]));
    System.exit(0);
  }
}
