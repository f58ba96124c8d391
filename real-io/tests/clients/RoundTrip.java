import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndTimestamp;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.TopicExistsException;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.record.TimestampType;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * Kafka's own Java client creates, writes and reads back its topics, and reads what other clients wrote.
 *
 * <pre>
 * RoundTrip roundtrip BOOTSTRAP COUNT BASE_MS
 * RoundTrip read      BOOTSTRAP COUNT BASE_MS TOPIC...
 * </pre>
 *
 * The records are those records.py describes. Prints "ok …" or "FAIL …" per check.
 */
public final class RoundTrip {
    static final int PARTITIONS = 4;
    static final int KCAT_GROUPS = 10;
    static final int POOL_BYTES = 512 * 1024;
    static final long PATIENCE_MS = 30_000;
    static final byte[] POOL = pool();

    static long splitmix64(long x) {
        long z = x + 0x9E3779B97F4A7C15L;
        z = (z ^ (z >>> 30)) * 0xBF58476D1CE4E5B9L;
        z = (z ^ (z >>> 27)) * 0x94D049BB133111EBL;
        return z ^ (z >>> 31);
    }

    static long fnv1a64(byte[] data) {
        long h = 0xCBF29CE484222325L;
        for (byte b : data) {
            h = (h ^ (b & 0xff)) * 0x100000001B3L;
        }
        return h;
    }

    static byte[] pool() {
        byte[] pool = new byte[POOL_BYTES];
        for (int j = 0; j < POOL_BYTES / 8; j++) {
            long word = splitmix64(j);
            for (int b = 0; b < 8; b++) {
                pool[8 * j + b] = (byte) (word >>> (8 * b));
            }
        }
        return pool;
    }

    static byte[] utf8(String s) {
        return s.getBytes(StandardCharsets.UTF_8);
    }

    record Topic(String name, int count, long baseMs, long seed, boolean kcat, boolean kafkaPython) {
        Topic(String name, int count, long baseMs) {
            this(name, count, baseMs, fnv1a64(utf8(name)), name.startsWith("kcat-"), name.startsWith("kafkapython-"));
        }

        long draw(int i, int k, long below) {
            return Long.remainderUnsigned(splitmix64(seed + 16L * i + k), below);
        }

        byte[] noise(int size, int i, int k) {
            int at = (int) draw(i, k, POOL_BYTES - size);
            return Arrays.copyOfRange(POOL, at, at + size);
        }

        int group(int i) {
            return (int) ((long) i * KCAT_GROUPS / count);
        }

        int partition(int i) {
            return kcat ? group(i) % PARTITIONS : (int) draw(i, 0, PARTITIONS);
        }

        List<Header> headers(int i) {
            int n = kcat ? group(i) : i;
            List<Header> out = new ArrayList<>();
            switch (n % 5) {
                case 0 -> { }
                case 1 -> out.add(new RecordHeader("h",
                        kcat ? utf8("value-" + n) : noise((int) draw(i, 6, 33), i, 7)));
                case 2 -> {
                    out.add(new RecordHeader("dup", utf8("first")));
                    out.add(new RecordHeader("other", utf8(Integer.toString(n))));
                    out.add(new RecordHeader("dup", utf8("second")));
                    out.add(new RecordHeader("dup", new byte[0]));
                }
                case 3 -> {
                    out.add(new RecordHeader("null", kafkaPython ? new byte[0] : null));
                    out.add(new RecordHeader("empty", new byte[0]));
                }
                default -> {
                    out.add(new RecordHeader("schl\u00fcssel", utf8("wert-\u2713")));
                    if (!kcat) {
                        out.add(new RecordHeader("", utf8("x")));
                    }
                }
            }
            return out;
        }

        byte[] blank(int i, byte[] side) {
            boolean isBlank = side == null || side.length == 0;
            return kcat && isBlank ? (group(i) % 2 == 0 ? null : new byte[0]) : side;
        }

        byte[] key(int i) {
            if (i % 10 == 3) {
                return blank(i, null);
            }
            if (i % 10 == 4) {
                return blank(i, new byte[0]);
            }
            byte[] text = utf8(name + "/" + i + "/");
            byte[] noise = noise((int) draw(i, 1, 24), i, 2);
            byte[] key = Arrays.copyOf(text, text.length + noise.length);
            System.arraycopy(noise, 0, key, text.length, noise.length);
            return key;
        }

        byte[] value(int i) {
            int kind = i % 50;
            if (kind == 13 || kind == 37) {
                return blank(i, kafkaPython && kind == 13 ? new byte[0] : null);
            }
            if (kind == 24 || kind == 48) {
                return blank(i, new byte[0]);
            }
            int size = (int) (i % 2500 == 2499 ? 102400 + draw(i, 3, 204801) : draw(i, 3, 2049));
            if (draw(i, 4, 2) == 1) {
                return blank(i, noise(size, i, 5));
            }
            byte[] text = utf8(name + " " + i + " ");
            byte[] value = new byte[size];
            for (int at = 0; at < size; at += text.length) {
                System.arraycopy(text, 0, value, at, Math.min(text.length, size - at));
            }
            return blank(i, value);
        }

        /** The indexes of each partition, in the order of their offsets 0, 1, 2, … */
        List<List<Integer>> byPartition() {
            List<List<Integer>> out = new ArrayList<>();
            IntStream.range(0, PARTITIONS).forEach(p -> out.add(new ArrayList<>()));
            for (int i = 0; i < count; i++) {
                out.get(partition(i)).add(i);
            }
            return out;
        }

        List<TopicPartition> partitions() {
            return IntStream.range(0, PARTITIONS).mapToObj(p -> new TopicPartition(name, p)).toList();
        }
    }

    interface Check {
        /** What was found, or throws what is wrong. */
        String run() throws Exception;
    }

    static boolean failed;

    static void say(Check check) {
        try {
            System.out.println("ok " + check.run());
        } catch (Exception | AssertionError e) {
            failed = true;
            System.out.println("FAIL " + e + (e.getCause() == null ? "" : ", because of " + e.getCause()));
        }
    }

    static void require(boolean holds, String otherwise) {
        if (!holds) {
            throw new AssertionError(otherwise);
        }
    }

    static void write(String bootstrap, Topic topic, Map<String, String> settings) throws Exception {
        Properties p = new Properties();
        p.put("bootstrap.servers", bootstrap);
        p.put("delivery.timeout.ms", "30000");
        p.put("request.timeout.ms", "20000");
        p.putAll(settings);
        try (var producer = new KafkaProducer<>(p, new ByteArraySerializer(), new ByteArraySerializer())) {
            List<Future<RecordMetadata>> sent = new ArrayList<>();
            for (int i = 0; i < topic.count(); i++) {
                sent.add(producer.send(new ProducerRecord<>(topic.name(), topic.partition(i), topic.baseMs() + i,
                        topic.key(i), topic.value(i), topic.headers(i))));
            }
            producer.flush();
            boolean offsetsAreKnown = !"0".equals(settings.get("acks"));
            int[] next = new int[PARTITIONS];
            for (int i = 0; i < topic.count(); i++) {
                RecordMetadata m = sent.get(i).get();
                require(m.partition() == topic.partition(i), "record " + i + " went to partition " + m.partition());
                long offset = next[m.partition()]++;
                require(!offsetsAreKnown || m.offset() == offset,
                        "record " + i + " was acknowledged at offset " + m.offset() + ", not " + offset);
            }
        }
    }

    static KafkaConsumer<byte[], byte[]> consumer(String bootstrap) {
        Properties p = new Properties();
        p.put("bootstrap.servers", bootstrap);
        p.put("enable.auto.commit", "false");
        p.put("auto.offset.reset", "none");
        p.put("max.poll.records", "5000");
        return new KafkaConsumer<>(p, new ByteArrayDeserializer(), new ByteArrayDeserializer());
    }

    /** Reads from the given offset of each partition to its end and compares every record. */
    static void read(KafkaConsumer<byte[], byte[]> consumer, Topic topic, int[] starts) {
        List<List<Integer>> order = topic.byPartition();
        int[] next = starts.clone();
        consumer.assign(topic.partitions());
        topic.partitions().forEach(tp -> consumer.seek(tp, starts[tp.partition()]));
        int left = IntStream.range(0, PARTITIONS).map(p -> order.get(p).size() - starts[p]).sum();
        long deadline = System.currentTimeMillis() + PATIENCE_MS;
        while (left > 0) {
            require(System.currentTimeMillis() < deadline,
                    topic.name() + ": " + left + " records missing, read up to " + Arrays.toString(next));
            for (ConsumerRecord<byte[], byte[]> r : consumer.poll(Duration.ofMillis(200))) {
                int at = next[r.partition()]++;
                String where = topic.name() + "-" + r.partition() + " at offset " + r.offset() + ": ";
                require(at < order.get(r.partition()).size(), where + "there are more records than were written");
                int i = order.get(r.partition()).get(at);
                require(r.offset() == at, where + "the offset should be " + at);
                require(r.timestampType() == TimestampType.CREATE_TIME, where + "timestamp is " + r.timestampType());
                require(topic.kcat() ? r.timestamp() >= topic.baseMs() : r.timestamp() == topic.baseMs() + i,
                        where + "the timestamp of record " + i + " is " + r.timestamp());
                require(Arrays.equals(r.key(), topic.key(i)), where + "the key of record " + i + " differs");
                require(Arrays.equals(r.value(), topic.value(i)), where + "the value of record " + i + " differs");
                List<Header> headers = Arrays.asList(r.headers().toArray());
                require(headers.equals(topic.headers(i)), where + "headers are " + headers + ", not " + topic.headers(i));
                left--;
            }
        }
    }

    static int[] starts(List<List<Integer>> order, int divisor) {
        return order.stream().mapToInt(o -> divisor == 0 ? 0 : o.size() / divisor).toArray();
    }

    static void roundTrips(String bootstrap, int count, long baseMs) throws Exception {
        // The producer is idempotent by default; the last three are not.
        Map<String, Map<String, String>> producers = new java.util.LinkedHashMap<>();
        for (String codec : List.of("none", "gzip", "snappy", "lz4", "zstd")) {
            producers.put("java-" + codec, Map.of("compression.type", codec));
        }
        producers.put("java-acks0", Map.of("acks", "0"));
        producers.put("java-acks1", Map.of("acks", "1", "compression.type", "lz4", "batch.size", "1000"));
        producers.put("java-acksall", Map.of("acks", "all", "enable.idempotence", "false", "linger.ms", "50"));

        try (Admin admin = Admin.create(Map.<String, Object>of("bootstrap.servers", bootstrap))) {
            List<NewTopic> topics =
                    producers.keySet().stream().map(t -> new NewTopic(t, PARTITIONS, (short) 1)).toList();
            say(() -> {
                admin.createTopics(topics).all().get();
                try {
                    admin.createTopics(topics.subList(0, 1)).all().get();
                    throw new AssertionError("creating a topic that exists was not refused");
                } catch (ExecutionException e) {
                    require(e.getCause() instanceof TopicExistsException, "refused with " + e.getCause());
                }
                return "its topics are created, once";
            });
            say(() -> {
                Map<String, TopicDescription> d = admin.describeTopics(producers.keySet()).allTopicNames().get();
                for (TopicDescription t : d.values()) {
                    require(t.partitions().size() == PARTITIONS && !t.isInternal(), "described as " + t);
                    t.partitions().forEach(p -> require(
                            p.leader() != null && p.isr().size() == 1 && p.replicas().size() == 1, "described as " + t));
                    require(!t.topicId().equals(org.apache.kafka.common.Uuid.ZERO_UUID), "no id: " + t);
                }
                var cluster = admin.describeCluster();
                require(cluster.nodes().get().size() == 1, "nodes are " + cluster.nodes().get());
                return "topics and cluster are described";
            });
        }
        try (var consumer = consumer(bootstrap)) {
            producers.forEach((name, settings) -> {
                Topic topic = new Topic(name, count, baseMs);
                List<List<Integer>> order = topic.byPartition();
                say(() -> {
                    write(bootstrap, topic, settings);
                    read(consumer, topic, starts(order, 0));
                    return name + ": " + count + " records written and read back";
                });
                say(() -> {
                    int[] middle = starts(order, 2);
                    read(consumer, topic, middle);
                    return name + ": read again from offsets " + Arrays.toString(middle);
                });
                say(() -> {
                    // Timestamps rise with the index: the first record at or after the middle one's time.
                    Map<TopicPartition, Long> times = topic.partitions().stream()
                            .collect(Collectors.toMap(tp -> tp, tp -> baseMs + count / 2));
                    Map<TopicPartition, OffsetAndTimestamp> found = consumer.offsetsForTimes(times);
                    Map<TopicPartition, Long> ends = consumer.endOffsets(topic.partitions());
                    Map<TopicPartition, Long> begins = consumer.beginningOffsets(topic.partitions());
                    Map<String, Object> wrong = new HashMap<>();
                    topic.partitions().forEach(tp -> {
                        List<Integer> o = order.get(tp.partition());
                        int want = (int) o.stream().filter(i -> i < count / 2).count();
                        OffsetAndTimestamp got = found.get(tp);
                        if (got == null || got.offset() != want || got.timestamp() != baseMs + o.get(want)
                                || got.leaderEpoch().isEmpty()) {
                            wrong.put("by time " + tp, got);
                        }
                        if (ends.get(tp) != o.size() || begins.get(tp) != 0) {
                            wrong.put("ends of " + tp, begins.get(tp) + ".." + ends.get(tp));
                        }
                    });
                    require(wrong.isEmpty(), name + ": " + wrong);
                    return name + ": offsets by time, first and end offsets";
                });
            });
        }
    }

    public static void main(String[] args) throws Exception {
        String bootstrap = args[1];
        int count = Integer.parseInt(args[2]);
        long baseMs = Long.parseLong(args[3]);
        if (args[0].equals("roundtrip")) {
            roundTrips(bootstrap, count, baseMs);
        } else {
            try (var consumer = consumer(bootstrap)) {
                for (String name : Arrays.asList(args).subList(4, args.length)) {
                    Topic topic = new Topic(name, count, baseMs);
                    say(() -> {
                        read(consumer, topic, new int[PARTITIONS]);
                        return "reads " + name + ": " + count + " records";
                    });
                }
            }
        }
        System.exit(failed ? 1 : 0);
    }
}
