import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.security.GeneralSecurityException;
import java.sql.Connection;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.SortedMap;
import java.util.TreeMap;
import javax.crypto.Cipher;
import javax.crypto.spec.SecretKeySpec;
import org.postgresql.PGStatement;

/** The tables in one connection: a chunk is one transaction, statements are batches. */
final class Tables {
    /** As those of the projections: the same keys, indexes and fill factors. */
    private static final String CREATE = """
        CREATE TABLE java_position (
            topic text, partition integer, next_offset bigint NOT NULL,
            PRIMARY KEY (topic, partition));
        CREATE TABLE java_producer (
            producer text PRIMARY KEY, kind text NOT NULL, enrolled_ms bigint NOT NULL,
            anchors text NOT NULL, beat_ms bigint NOT NULL, beat text NOT NULL,
            contact_ms bigint NOT NULL) WITH (fillfactor = 50);
        CREATE TABLE java_segment (
            producer text, epoch integer, first bigint, hash bytea, last bigint NOT NULL,
            prev bytea NOT NULL, partition integer NOT NULL, log_offset bigint NOT NULL,
            append_ms bigint NOT NULL, sealed_ms bigint NOT NULL, route text NOT NULL,
            PRIMARY KEY (producer, epoch, first, hash));
        CREATE INDEX ON java_segment (partition, log_offset);
        CREATE TABLE java_person (
            key bytea PRIMARY KEY, facts bytea NOT NULL, nik bytea NOT NULL DEFAULT ''::bytea)
            WITH (fillfactor = 50);
        CREATE TABLE java_coverage_cell (
            desa text COLLATE "C", occurred_on date, known_on date, cause text, producer text,
            mode text, route text, people bigint NOT NULL,
            PRIMARY KEY (occurred_on, desa, known_on, cause, producer, mode, route)
            INCLUDE (people));
        CREATE INDEX ON java_coverage_cell (known_on, desa, (occurred_on + 0))
            INCLUDE (occurred_on, people) WHERE occurred_on < known_on;
        CREATE INDEX ON java_coverage_cell (desa, known_on) WHERE occurred_on = 'infinity';
        CREATE TABLE java_coverage_duplicate (
            desa text COLLATE "C", occurred_on date, known_on date, people bigint NOT NULL,
            PRIMARY KEY (desa, occurred_on, known_on) INCLUDE (people));
        CREATE TABLE java_coverage_month (
            desa text COLLATE "C", occurred_month date, known_month date, people bigint NOT NULL,
            PRIMARY KEY (occurred_month, desa, known_month) INCLUDE (people));
        CREATE INDEX ON java_coverage_month (known_month, desa, (occurred_month + 0))
            INCLUDE (occurred_month, people) WHERE occurred_month < known_month;
        CREATE INDEX ON java_coverage_month (desa, known_month) WHERE occurred_month = 'infinity';
        CREATE TABLE java_coverage_year (
            desa text COLLATE "C", occurred_year date, known_year date, people bigint NOT NULL,
            PRIMARY KEY (desa, occurred_year, known_year) INCLUDE (people));
        CREATE TABLE java_duplicate_case (
            case_id text COLLATE "C", kind text, state text, outcome text, desa text COLLATE "C",
            since_on date, token bytea, people bigint NOT NULL,
            PRIMARY KEY (case_id, kind, state, outcome, desa, since_on, token))
            WITH (fillfactor = 50);
        CREATE INDEX ON java_duplicate_case (desa);
        CREATE TABLE java_duplicate_device (
            producer text COLLATE "C", case_id text COLLATE "C", recordings bigint NOT NULL,
            PRIMARY KEY (producer, case_id)) WITH (fillfactor = 50);
        CREATE INDEX ON java_duplicate_device (case_id);
        CREATE TABLE java_verification_cell (
            desa text COLLATE "C", status text, people bigint NOT NULL,
            PRIMARY KEY (desa, status)) WITH (fillfactor = 50);
        CREATE TABLE java_verification_age (
            desa text COLLATE "C", status text, since_on date, people bigint NOT NULL,
            PRIMARY KEY (desa, status, since_on)) WITH (fillfactor = 50);
        CREATE TABLE java_verification_turn (
            desa text COLLATE "C", turn text, before_status text, after_status text,
            people bigint NOT NULL,
            PRIMARY KEY (desa, turn, before_status, after_status)) WITH (fillfactor = 50);
        """;
    private static final String FORGET = """
        TRUNCATE java_position, java_producer, java_segment, java_person, java_coverage_cell,
            java_coverage_duplicate, java_coverage_month, java_coverage_year,
            java_verification_cell, java_verification_age, java_verification_turn,
            java_duplicate_case, java_duplicate_device
        """;
    private static final String ADD_DUPLICATE = """
        INSERT INTO java_coverage_duplicate AS stored (desa, occurred_on, known_on, people)
        VALUES (?, ?, ?, ?) ON CONFLICT (desa, occurred_on, known_on)
        DO UPDATE SET people = stored.people + excluded.people
        """;
    private static final String ADD_MONTH = """
        INSERT INTO java_coverage_month AS stored (desa, occurred_month, known_month, people)
        VALUES (?, ?, ?, ?) ON CONFLICT (occurred_month, desa, known_month)
        DO UPDATE SET people = stored.people + excluded.people
        """;
    private static final String ADD_YEAR = """
        INSERT INTO java_coverage_year AS stored (desa, occurred_year, known_year, people)
        VALUES (?, ?, ?, ?) ON CONFLICT (desa, occurred_year, known_year)
        DO UPDATE SET people = stored.people + excluded.people
        """;

    private final Connection connection;
    private final Calendar calendar;
    private final Cases cases;
    private final Person.Codec codec = new Person.Codec();
    private final Cipher nikCipher = Cipher.getInstance("AES/ECB/NoPadding");

    Tables(Connection connection, Calendar calendar, Cases cases, byte[] nikKey)
            throws SQLException, GeneralSecurityException {
        this.connection = connection;
        this.cases = cases;
        this.calendar = calendar;
        nikCipher.init(Cipher.ENCRYPT_MODE, new SecretKeySpec(nikKey, "AES"));
        execute(CREATE);
        connection.setAutoCommit(false);
    }

    /** Empties everything, then enrols the producers. */
    void begin(Collection<Producer> producers) throws SQLException {
        execute(FORGET);
        try (PreparedStatement insert =
                connection.prepareStatement(
                        "INSERT INTO java_producer VALUES (?, ?, ?, '', 0, '', 0)")) {
            for (Producer producer : producers) {
                insert.setString(1, producer.name);
                insert.setString(2, producer.kind);
                insert.setLong(3, producer.enrolledMs);
                insert.addBatch();
            }
            insert.executeBatch();
        }
        connection.commit();
        connection.setAutoCommit(true);
        execute("CHECKPOINT");
        connection.setAutoCommit(false);
    }

    /** Applies a chunk and moves the position past it, in one transaction. */
    void fold(String topic, int partition, List<Segment> chunk) throws Exception {
        try {
            long next = lockPosition(topic, partition);
            List<Segment> fresh =
                    chunk.stream().filter(segment -> segment.offset() >= next).toList();
            if (!fresh.isEmpty()) {
                foldFresh(partition, fresh);
                movePosition(topic, partition, fresh.get(fresh.size() - 1).offset() + 1);
            }
            connection.commit();
        } catch (Exception failed) {
            connection.rollback();
            throw failed;
        }
    }

    private void foldFresh(int partition, List<Segment> segments) throws Exception {
        Map<String, Producer> producers = lockProducers(segments);
        for (Segment segment : segments) {
            Producer producer = producers.get(segment.producer());
            for (Event event : segment.events()) {
                producer.take(event);
            }
            producer.contactMs = Math.max(producer.contactMs, segment.appendMs());
        }
        SortedMap<Token, List<Person.Fact>> added = new TreeMap<>();
        Map<Token, String> niks = new HashMap<>();
        for (Segment segment : segments) {
            Producer producer = producers.get(segment.producer());
            long variant = ByteBuffer.wrap(segment.hash()).getLong();
            for (Event event : segment.events()) {
                if (event.token != null) {
                    boolean counts = producer.mayState(event.type);
                    int day = producer.occurredOn(event, segment.appendMs(), calendar);
                    added.computeIfAbsent(event.token, token -> new ArrayList<>(2))
                            .add(Person.Fact.of(segment, variant, event, counts, day));
                    niks.put(event.token, event.nik);
                }
            }
        }
        Cells cells = new Cells();
        foldPeople(added, niks, cells);
        writeProducers(producers.values());
        writeSegments(partition, segments);
        writeCells(cells);
    }

    // People ------------------------------------------------------------------------------------

    private void foldPeople(
            SortedMap<Token, List<Person.Fact>> added, Map<Token, String> niks, Cells cells)
            throws Exception {
        Map<Token, byte[]> stored = lockPeople(added.keySet());
        try (PreparedStatement write =
                connection.prepareStatement(
                        "INSERT INTO java_person (key, facts, nik) VALUES (?, ?, ?)"
                                + " ON CONFLICT (key) DO UPDATE"
                                + " SET facts = excluded.facts, nik = excluded.nik")) {
            for (Map.Entry<Token, List<Person.Fact>> entry : added.entrySet()) {
                List<Person.Fact> before = codec.decode(stored.get(entry.getKey()));
                List<Person.Fact> now = Person.union(before, entry.getValue());
                if (!before.isEmpty()) {
                    Person.contribute(entry.getKey(), before, -1, calendar, cases, cells);
                }
                Person.contribute(entry.getKey(), now, 1, calendar, cases, cells);
                String nik = niks.get(entry.getKey());
                write.setBytes(1, entry.getKey().bytes());
                write.setBytes(2, codec.encode(now));
                write.setBytes(3, nikCipher.doFinal(nik.getBytes(StandardCharsets.US_ASCII)));
                write.addBatch();
            }
            write.executeBatch();
        }
    }

    /** Locks the rows that are there, in order, and makes the others; returns what is in them. */
    private Map<Token, byte[]> lockPeople(Collection<Token> tokens) throws SQLException {
        Object[] keys = tokens.stream().map(Token::bytes).toArray(byte[][]::new);
        Map<Token, byte[]> stored = new HashMap<>(2 * keys.length);
        try (PreparedStatement lock =
                connection.prepareStatement(
                        "SELECT key, facts FROM java_person WHERE key = ANY (?)"
                                + " ORDER BY key FOR UPDATE")) {
            // Planned each time: a plan that is made of the empty table, after the warm-up, and kept
            // compares each row with every key.
            lock.unwrap(PGStatement.class).setPrepareThreshold(0);
            lock.setArray(1, connection.createArrayOf("bytea", keys));
            try (ResultSet found = lock.executeQuery()) {
                while (found.next()) {
                    stored.put(Token.of(found.getBytes(1)), found.getBytes(2));
                }
            }
        }
        try (PreparedStatement make =
                connection.prepareStatement(
                        "INSERT INTO java_person (key, facts) VALUES (?, ''::bytea)")) {
            for (Token token : tokens) {
                if (stored.putIfAbsent(token, new byte[0]) == null) {
                    make.setBytes(1, token.bytes());
                    make.addBatch();
                }
            }
            make.executeBatch();
        }
        return stored;
    }

    // Position, producers, ledger ---------------------------------------------------------------

    private long lockPosition(String topic, int partition) throws SQLException {
        try (PreparedStatement make =
                        connection.prepareStatement(
                                "INSERT INTO java_position VALUES (?, ?, 0)"
                                        + " ON CONFLICT DO NOTHING");
                PreparedStatement lock =
                        connection.prepareStatement(
                                "SELECT next_offset FROM java_position"
                                        + " WHERE topic = ? AND partition = ? FOR UPDATE")) {
            make.setString(1, topic);
            make.setInt(2, partition);
            make.executeUpdate();
            lock.setString(1, topic);
            lock.setInt(2, partition);
            try (ResultSet found = lock.executeQuery()) {
                found.next();
                return found.getLong(1);
            }
        }
    }

    private void movePosition(String topic, int partition, long next) throws SQLException {
        try (PreparedStatement move =
                connection.prepareStatement(
                        "UPDATE java_position SET next_offset = ?"
                                + " WHERE topic = ? AND partition = ?")) {
            move.setLong(1, next);
            move.setString(2, topic);
            move.setInt(3, partition);
            move.executeUpdate();
        }
    }

    private Map<String, Producer> lockProducers(List<Segment> segments) throws SQLException {
        Object[] names =
                segments.stream().map(Segment::producer).distinct().sorted().toArray();
        Map<String, Producer> producers = new TreeMap<>();
        try (PreparedStatement lock =
                connection.prepareStatement(
                        "SELECT producer, kind, enrolled_ms, anchors, beat_ms, beat, contact_ms"
                                + " FROM java_producer WHERE producer = ANY (?)"
                                + " ORDER BY producer FOR UPDATE")) {
            lock.setArray(1, connection.createArrayOf("text", names));
            try (ResultSet found = lock.executeQuery()) {
                while (found.next()) {
                    Producer producer =
                            new Producer(found.getString(1), found.getString(2), found.getLong(3));
                    producer.setAnchors(found.getString(4));
                    producer.beatMs = found.getLong(5);
                    producer.beat = found.getString(6);
                    producer.contactMs = found.getLong(7);
                    producers.put(producer.name, producer);
                }
            }
        }
        if (producers.size() != names.length) {
            throw new IllegalStateException("not enrolled: one of " + Arrays.toString(names));
        }
        return producers;
    }

    private void writeProducers(Collection<Producer> producers) throws SQLException {
        try (PreparedStatement update =
                connection.prepareStatement(
                        "UPDATE java_producer SET anchors = ?, beat_ms = ?, beat = ?,"
                                + " contact_ms = ? WHERE producer = ?")) {
            for (Producer producer : producers) {
                update.setString(1, producer.anchors());
                update.setLong(2, producer.beatMs);
                update.setString(3, producer.beat);
                update.setLong(4, producer.contactMs);
                update.setString(5, producer.name);
                update.addBatch();
            }
            update.executeBatch();
        }
    }

    private void writeSegments(int partition, List<Segment> segments) throws SQLException {
        List<Segment> ordered =
                segments.stream()
                        .sorted(
                                Comparator.comparing(Segment::producer)
                                        .thenComparingInt(Segment::epoch)
                                        .thenComparingLong(Segment::first))
                        .toList();
        try (PreparedStatement insert =
                connection.prepareStatement(
                        "INSERT INTO java_segment (producer, epoch, first, hash, last, prev,"
                                + " partition, log_offset, append_ms, sealed_ms, route)"
                                + " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'kafka')"
                                + " ON CONFLICT DO NOTHING")) {
            for (Segment segment : ordered) {
                insert.setString(1, segment.producer());
                insert.setInt(2, segment.epoch());
                insert.setLong(3, segment.first());
                insert.setBytes(4, segment.hash());
                insert.setLong(5, segment.last());
                insert.setBytes(6, segment.prev());
                insert.setInt(7, partition);
                insert.setLong(8, segment.offset());
                insert.setLong(9, segment.appendMs());
                insert.setLong(10, segment.sealedMs());
                insert.addBatch();
            }
            insert.executeBatch();
        }
    }

    // Cells -------------------------------------------------------------------------------------

    private void writeCells(Cells cells) throws SQLException {
        try (PreparedStatement add =
                connection.prepareStatement(
                        "INSERT INTO java_coverage_cell AS stored"
                                + " (desa, occurred_on, known_on, cause, producer, mode, route,"
                                + " people) VALUES (?, ?, ?, 'arrived', ?, ?, 'kafka', ?)"
                                + " ON CONFLICT (occurred_on, desa, known_on, cause, producer,"
                                + " mode, route)"
                                + " DO UPDATE SET people = stored.people + excluded.people")) {
            for (Map.Entry<Cells.Coverage, Long> cell :
                    inOrder(cells.coverage, Cells.COVERAGE_ORDER)) {
                add.setString(1, cell.getKey().desa());
                add.setObject(2, Calendar.date(cell.getKey().occurredOn()));
                add.setObject(3, Calendar.date(cell.getKey().knownOn()));
                add.setString(4, cell.getKey().producer());
                add.setString(5, cell.getKey().mode());
                add.setLong(6, cell.getValue());
                add.addBatch();
            }
            add.executeBatch();
        }
        addSpans(ADD_DUPLICATE, cells.duplicates);
        Map<Cells.Span, Long> months = cells.months();
        addSpans(ADD_MONTH, months);
        addSpans(ADD_YEAR, Cells.years(months));
        writeCases(cells);
        try (PreparedStatement add =
                connection.prepareStatement(
                        "INSERT INTO java_verification_cell AS stored (desa, status, people)"
                                + " VALUES (?, ?, ?) ON CONFLICT (desa, status)"
                                + " DO UPDATE SET people = stored.people + excluded.people")) {
            for (Map.Entry<Cells.Verification, Long> cell :
                    inOrder(cells.verification, Cells.VERIFICATION_ORDER)) {
                add.setString(1, cell.getKey().desa());
                add.setString(2, cell.getKey().status());
                add.setLong(3, cell.getValue());
                add.addBatch();
            }
            add.executeBatch();
        }
        writeAges(cells);
    }

    private void writeCases(Cells cells) throws SQLException {
        try (PreparedStatement add =
                connection.prepareStatement(
                        "INSERT INTO java_duplicate_case AS stored"
                                + " (case_id, kind, state, outcome, desa, since_on, token, people)"
                                + " VALUES (?, ?, 'open', '', ?, ?, ?, ?)"
                                + " ON CONFLICT (case_id, kind, state, outcome, desa, since_on, token)"
                                + " DO UPDATE SET people = stored.people + excluded.people")) {
            for (Map.Entry<Cells.Case, Long> cell : inOrder(cells.cases, Cells.CASE_ORDER)) {
                add.setString(1, cell.getKey().id());
                add.setString(2, cell.getKey().kind());
                add.setString(3, cell.getKey().desa());
                add.setObject(4, Calendar.date(cell.getKey().sinceOn()));
                add.setBytes(5, cell.getKey().token().bytes());
                add.setLong(6, cell.getValue());
                add.addBatch();
            }
            add.executeBatch();
        }
        try (PreparedStatement add =
                connection.prepareStatement(
                        "INSERT INTO java_duplicate_device AS stored (producer, case_id, recordings)"
                                + " VALUES (?, ?, ?) ON CONFLICT (producer, case_id)"
                                + " DO UPDATE SET recordings ="
                                + " stored.recordings + excluded.recordings")) {
            for (Map.Entry<Cells.Device, Long> cell : inOrder(cells.devices, Cells.DEVICE_ORDER)) {
                add.setString(1, cell.getKey().producer());
                add.setString(2, cell.getKey().caseId());
                add.setLong(3, cell.getValue());
                add.addBatch();
            }
            add.executeBatch();
        }
    }

    private void writeAges(Cells cells) throws SQLException {
        try (PreparedStatement add =
                connection.prepareStatement(
                        "INSERT INTO java_verification_age AS stored (desa, status, since_on, people)"
                                + " VALUES (?, ?, ?, ?) ON CONFLICT (desa, status, since_on)"
                                + " DO UPDATE SET people = stored.people + excluded.people")) {
            for (Map.Entry<Cells.Age, Long> cell : inOrder(cells.ages, Cells.AGE_ORDER)) {
                add.setString(1, cell.getKey().desa());
                add.setString(2, cell.getKey().status());
                add.setObject(3, Calendar.date(cell.getKey().sinceOn()));
                add.setLong(4, cell.getValue());
                add.addBatch();
            }
            add.executeBatch();
        }
        try (PreparedStatement add =
                connection.prepareStatement(
                        "INSERT INTO java_verification_turn AS stored"
                                + " (desa, turn, before_status, after_status, people)"
                                + " VALUES (?, ?, ?, ?, ?)"
                                + " ON CONFLICT (desa, turn, before_status, after_status)"
                                + " DO UPDATE SET people = stored.people + excluded.people")) {
            for (Map.Entry<Cells.Turn, Long> cell : inOrder(cells.turns, Cells.TURN_ORDER)) {
                add.setString(1, cell.getKey().desa());
                add.setString(2, cell.getKey().turn());
                add.setString(3, cell.getKey().before());
                add.setString(4, cell.getKey().after());
                add.setLong(5, cell.getValue());
                add.addBatch();
            }
            add.executeBatch();
        }
    }

    private void addSpans(String sql, Map<Cells.Span, Long> spans) throws SQLException {
        try (PreparedStatement add = connection.prepareStatement(sql)) {
            for (Map.Entry<Cells.Span, Long> cell : inOrder(spans, Cells.SPAN_ORDER)) {
                add.setString(1, cell.getKey().desa());
                add.setObject(2, Calendar.date(cell.getKey().occurred()));
                add.setObject(3, Calendar.date(cell.getKey().known()));
                add.setLong(4, cell.getValue());
                add.addBatch();
            }
            add.executeBatch();
        }
    }

    private static <K> List<Map.Entry<K, Long>> inOrder(Map<K, Long> sums, Comparator<K> order) {
        return sums.entrySet().stream()
                .filter(cell -> cell.getValue() != 0)
                .sorted(Map.Entry.comparingByKey(order))
                .toList();
    }

    private void execute(String sql) throws SQLException {
        try (Statement statement = connection.createStatement()) {
            statement.execute(sql);
        }
    }
}
