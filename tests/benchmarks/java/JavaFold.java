import java.io.Reader;
import java.nio.file.Files;
import java.nio.file.Path;
import java.sql.Connection;
import java.sql.DriverManager;
import java.time.Duration;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.Executor;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.FutureTask;
import java.util.stream.IntStream;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/**
 * The fold of the projections as a plain Java consumer with JDBC batches: all in one thread; or, with
 * `opens_beside`, another thread opens the chunk ahead of it, as in the stream processor.
 *
 * <p>Folds the beginning of the topic once so that the machine is warm, forgets it, then folds all
 * of it and says how long that took from the first records to the last commit.
 */
public final class JavaFold {
    private static final int CHUNK_RECORDS_MAX = 2_000;
    private static final int CHUNK_BYTES_MAX = 1024 * 1024;
    private static final int FETCH_BYTES_MAX = 16 * 1024 * 1024;
    private static final int CHUNKS_AHEAD = 1;

    private record Chunk(TopicPartition place, Future<List<Segment>> opened) {}

    private final Properties options;
    private final Tables tables;
    private final SegmentReader reader;
    private final Executor opener;

    private JavaFold(Properties options, Tables tables, SegmentReader reader) {
        this.options = options;
        this.tables = tables;
        this.reader = reader;
        this.opener =
                Boolean.parseBoolean(options.getProperty("opens_beside"))
                        ? Executors.newSingleThreadExecutor(
                                task -> {
                                    Thread thread = new Thread(task, "opener");
                                    thread.setDaemon(true);
                                    return thread;
                                })
                        : Runnable::run;
    }

    public static void main(String[] arguments) throws Exception {
        Properties options = new Properties();
        try (Reader file = Files.newBufferedReader(Path.of(arguments[0]))) {
            options.load(file);
        }
        List<Producer> producers = new ArrayList<>();
        List<byte[]> keys = new ArrayList<>();
        for (String line : options.getProperty("producers").split(",")) {
            String[] parts = line.split(" ");
            producers.add(new Producer(parts[0], parts[1], Long.parseLong(parts[2])));
            keys.add(HexFormat.of().parseHex(parts[3]));
        }
        SegmentReader reader =
                new SegmentReader(
                        keys,
                        bytes(options, "reader_seed"),
                        bytes(options, "reader_public"),
                        new Blake2b(bytes(options, "person_key"), Token.BYTES, ""));
        Properties login = new Properties();
        login.setProperty("user", options.getProperty("user"));
        login.setProperty("reWriteBatchedInserts", "true");
        try (Connection connection =
                DriverManager.getConnection(options.getProperty("jdbc_url"), login)) {
            Tables tables =
                    new Tables(
                            connection,
                            new Calendar(options.getProperty("zone")),
                            new Cases(bytes(options, "person_key")),
                            bytes(options, "nik_key"));
            JavaFold fold = new JavaFold(options, tables, reader);
            tables.begin(producers);
            fold.run(Long.parseLong(options.getProperty("warm_events")));
            tables.begin(producers);
            System.gc();
            long events = Long.parseLong(options.getProperty("events"));
            double seconds = fold.run(events);
            System.out.println("{\"events\":" + events + ",\"seconds\":" + seconds + "}");
        }
    }

    /** Folds the topic from its beginning until so many events are committed; returns seconds. */
    private double run(long wanted) throws Exception {
        try (KafkaConsumer<byte[], byte[]> consumer = consumer()) {
            String topic = options.getProperty("topic");
            List<TopicPartition> places =
                    IntStream.range(0, Integer.parseInt(options.getProperty("partitions")))
                            .mapToObj(number -> new TopicPartition(topic, number))
                            .toList();
            consumer.assign(places);
            consumer.seekToBeginning(places);
            ArrayDeque<Chunk> ahead = new ArrayDeque<>();
            long started = 0;
            long folded = 0;
            while (folded < wanted) {
                ConsumerRecords<byte[], byte[]> records =
                        consumer.poll(Duration.ofMillis(ahead.isEmpty() ? 100 : 0));
                if (started == 0 && !records.isEmpty()) {
                    started = System.nanoTime();
                }
                for (TopicPartition place : records.partitions()) {
                    for (List<ConsumerRecord<byte[], byte[]>> chunk :
                            chunks(records.records(place))) {
                        FutureTask<List<Segment>> opening = new FutureTask<>(() -> open(chunk));
                        opener.execute(opening);
                        ahead.add(new Chunk(place, opening));
                        if (ahead.size() > CHUNKS_AHEAD) {
                            folded += fold(ahead.remove());
                        }
                    }
                }
                while (records.isEmpty() && !ahead.isEmpty()) {
                    folded += fold(ahead.remove());
                }
            }
            double seconds = (System.nanoTime() - started) / 1e9;
            for (Chunk chunk : ahead) {
                chunk.opened.get(); // of the warm-up
            }
            return seconds;
        }
    }

    private long fold(Chunk chunk) throws Exception {
        List<Segment> segments = chunk.opened.get();
        tables.fold(chunk.place.topic(), chunk.place.partition(), segments);
        return segments.stream().mapToLong(Segment::count).sum();
    }

    private List<Segment> open(List<ConsumerRecord<byte[], byte[]>> chunk) throws Exception {
        List<Segment> segments = new ArrayList<>(chunk.size());
        for (ConsumerRecord<byte[], byte[]> record : chunk) {
            segments.add(reader.open(record.offset(), record.timestamp(), record.value()));
        }
        return segments;
    }

    private static List<List<ConsumerRecord<byte[], byte[]>>> chunks(
            List<ConsumerRecord<byte[], byte[]>> records) {
        List<List<ConsumerRecord<byte[], byte[]>>> chunks = new ArrayList<>();
        int from = 0;
        int bytes = 0;
        for (int at = 0; at < records.size(); at++) {
            int size = records.get(at).serializedValueSize();
            if (at > from && (at - from == CHUNK_RECORDS_MAX || bytes + size > CHUNK_BYTES_MAX)) {
                chunks.add(records.subList(from, at));
                from = at;
                bytes = 0;
            }
            bytes += size;
        }
        chunks.add(records.subList(from, records.size()));
        return chunks;
    }

    private KafkaConsumer<byte[], byte[]> consumer() {
        Map<String, Object> settings =
                Map.of(
                        "bootstrap.servers", options.getProperty("bootstrap"),
                        "enable.auto.commit", "false", // positions are in PostgreSQL
                        "max.poll.records", "16000",
                        "max.partition.fetch.bytes", Integer.toString(CHUNK_BYTES_MAX),
                        "fetch.max.bytes", Integer.toString(FETCH_BYTES_MAX),
                        "receive.buffer.bytes", Integer.toString(CHUNK_BYTES_MAX));
        return new KafkaConsumer<>(
                settings, new ByteArrayDeserializer(), new ByteArrayDeserializer());
    }

    private static byte[] bytes(Properties options, String name) {
        return HexFormat.of().parseHex(options.getProperty(name));
    }
}
