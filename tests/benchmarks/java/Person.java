import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;

/** What is remembered of a person, and what it adds to which cells. */
final class Person {
    static final int DATE_UNKNOWN = Integer.MAX_VALUE;
    private static final String UNPLACED = "-";
    private static final long AHEAD_MS_MAX = 24 * 3_600_000L;
    private static final byte CAPTURED = 0;
    private static final byte OBSERVED = 1;

    /** One event as a person has it; `detail` is a recording's domicile or an observed status. */
    record Fact(
            String producer,
            int epoch,
            long seq,
            long variant,
            long knownMs,
            long wallMs,
            String boot,
            boolean counts,
            int occurredOn,
            byte kind,
            String name,
            String detail,
            String place,
            String mode,
            long observedMs) {

        static Fact of(Segment segment, long variant, Event event, boolean counts, int day) {
            boolean isCaptured = event.type.equals("recording.captured.v1");
            return new Fact(
                    segment.producer(),
                    segment.epoch(),
                    event.seq,
                    variant,
                    segment.appendMs(),
                    event.wallMs,
                    event.boot,
                    counts,
                    day,
                    isCaptured ? CAPTURED : OBSERVED,
                    isCaptured ? event.recording : event.source,
                    isCaptured ? event.domicile : event.status,
                    isCaptured ? event.place : "",
                    isCaptured ? event.mode : "",
                    event.observedMs);
        }

        boolean isCaptured() {
            return kind == CAPTURED;
        }

        boolean isSeen() {
            return kind == OBSERVED && counts && observedMs <= knownMs + AHEAD_MS_MAX;
        }
    }

    private static final Comparator<Fact> IDENTITY =
            Comparator.comparing(Fact::producer)
                    .thenComparingInt(Fact::epoch)
                    .thenComparingLong(Fact::seq)
                    .thenComparing(Fact::variant, Long::compareUnsigned);
    private static final Comparator<Fact> KNOWN_ORDER =
            Comparator.comparingLong(Fact::knownMs).thenComparing(IDENTITY);
    private static final Comparator<Fact> OBSERVED_ORDER =
            Comparator.comparingLong(Fact::observedMs).thenComparing(IDENTITY);

    private Person() {}

    /** Returns the set of both in identity order; of two facts with one identity the new one stands. */
    static List<Fact> union(List<Fact> stored, List<Fact> added) {
        if (stored.isEmpty() && added.size() == 1) {
            return added;
        }
        List<Fact> all = new ArrayList<>(stored.size() + added.size());
        all.addAll(added);
        all.addAll(stored);
        all.sort(IDENTITY); // stable: the new one comes first
        List<Fact> kept = new ArrayList<>(all.size());
        for (Fact fact : all) {
            if (kept.isEmpty() || IDENTITY.compare(kept.get(kept.size() - 1), fact) != 0) {
                kept.add(fact);
            }
        }
        return kept;
    }

    // Contributions -----------------------------------------------------------------------------

    private record Placement(String desa, int occurredOn) {}

    /** Adds what the facts contribute, `sign` times. */
    static void contribute(
            Token token, List<Fact> facts, long sign, Calendar calendar, Cases cases, Cells cells) {
        List<Fact> recordings = new ArrayList<>(1);
        List<Fact> seen = new ArrayList<>(facts.size());
        int duplicates = 0;
        for (Fact fact : facts) {
            if (fact.isCaptured()) {
                recordings.add(fact);
            } else {
                if (fact.detail.equals(Vocabulary.DUPLICATE_RECORD)) {
                    duplicates++;
                }
                if (fact.isSeen()) {
                    seen.add(fact);
                }
            }
        }
        seen.sort(OBSERVED_ORDER);
        Fact latest = seen.isEmpty() ? null : seen.get(seen.size() - 1);
        Placement placed = null;
        int knownOn = 0;
        if (recordings.size() > 1) {
            recordings.sort(
                    Comparator.<Fact>comparingInt(fact -> calendar.day(fact.knownMs))
                            .thenComparingLong(Fact::knownMs)
                            .thenComparing(IDENTITY));
        }
        for (int known = 1; known <= recordings.size(); known++) {
            Fact cause = recordings.get(known - 1);
            Placement now = placement(recordings.subList(0, known));
            if (now != null && !now.equals(placed)) {
                knownOn = calendar.day(cause.knownMs);
                if (placed != null) {
                    cells.coverage(placed.desa, placed.occurredOn, knownOn, cause, -sign);
                }
                cells.coverage(now.desa, now.occurredOn, knownOn, cause, sign);
                placed = now;
            }
        }
        String desa = placed == null ? UNPLACED : placed.desa;
        if (latest != null) {
            cells.verification(desa, latest.detail, sign);
            if (latest.detail.equals(Vocabulary.SENT)) {
                cells.age(desa, latest.detail, calendar.day(since(seen)), sign);
            }
            turns(desa, seen, sign, cells);
        } else if (placed != null) {
            cells.verification(desa, Vocabulary.RECORDED_HERE_ONLY, sign);
        }
        boolean isShown = latest != null && latest.detail.equals(Vocabulary.DUPLICATE_RECORD);
        if (isShown || recordings.size() > 1) {
            List<Fact> standing = new ArrayList<>(recordings);
            standing.removeIf(fact -> !fact.counts);
            standing.sort(KNOWN_ORDER);
            Long differing = differSince(standing);
            if (differing != null) {
                cases.open(
                        token, Cases.TWO_RECORDINGS, desa, calendar.day(differing), standing, sign,
                        cells);
            }
            if (isShown) {
                cases.open(
                        token, Cases.CENTRE_DUPLICATE, desa, calendar.day(since(seen)), standing,
                        sign, cells);
            }
        }
        if (duplicates > 0 && placed != null) {
            if (duplicates > 1 || recordings.size() > 1 || !isShown) {
                throw new UnsupportedOperationException("a duplicate that comes and goes");
            }
            int day = Math.max(placed.occurredOn, calendar.day(latest.observedMs));
            cells.duplicate(
                    placed.desa, day, Math.max(knownOn, calendar.day(latest.knownMs)), sign);
        }
    }

    /** Returns since when the last of observations says what it says. */
    private static long since(List<Fact> seen) {
        int at = seen.size() - 1;
        while (at > 0 && seen.get(at - 1).detail.equals(seen.get(at).detail)) {
            at--;
        }
        return seen.get(at).observedMs;
    }

    /** Adds what was no step forward, each once however often it happened. */
    private static void turns(String desa, List<Fact> seen, long sign, Cells cells) {
        Set<Vocabulary.Step> found = null;
        String before = null;
        for (Fact fact : seen) {
            String after = fact.detail;
            if (!after.equals(before) && Vocabulary.isKnown(after)) {
                if (before != null) {
                    Vocabulary.Step step = new Vocabulary.Step(before, after);
                    String turn = Vocabulary.turn(step);
                    if (turn != null) {
                        found = found == null ? new HashSet<>() : found;
                        if (found.add(step)) {
                            cells.turn(desa, turn, step, sign);
                        }
                    }
                }
                before = after;
            }
        }
    }

    /** Returns since when recordings are known that are no retakes of the first; null: they are. */
    private static Long differSince(List<Fact> standing) {
        for (Fact fact : standing) {
            Fact first = standing.get(0);
            if (!fact.producer.equals(first.producer) || !fact.place.equals(first.place)) {
                return fact.knownMs;
            }
        }
        return null;
    }

    private static Placement placement(List<Fact> recordings) {
        Fact last = null;
        int earliest = DATE_UNKNOWN;
        for (Fact fact : recordings) {
            if (fact.counts) {
                if (last == null || happenedLater(fact, last)) {
                    last = fact;
                }
                earliest = Math.min(earliest, fact.occurredOn);
            }
        }
        return last == null ? null : new Placement(last.detail, earliest);
    }

    private static boolean happenedLater(Fact one, Fact other) {
        int day = one.occurredOn == DATE_UNKNOWN ? Integer.MIN_VALUE : one.occurredOn;
        int otherDay = other.occurredOn == DATE_UNKNOWN ? Integer.MIN_VALUE : other.occurredOn;
        return day != otherDay ? day > otherDay : IDENTITY.compare(one, other) > 0;
    }

    // As bytes ----------------------------------------------------------------------------------

    /** Encodes and decodes sets of facts; serves one thread. */
    static final class Codec {
        private static final int STRING_BYTES_MAX = 65_535;
        private static final int COMMON_MAX = 10_000;
        private final Map<String, byte[]> encoded = new HashMap<>();
        private ByteBuffer out = ByteBuffer.allocate(1 << 16);

        byte[] encode(List<Fact> facts) {
            out.clear();
            out.putShort((short) facts.size());
            for (Fact fact : facts) {
                reserve(4 * STRING_BYTES_MAX);
                put(common(fact.producer));
                out.putInt(fact.epoch).putLong(fact.seq).putLong(fact.variant);
                out.putLong(fact.knownMs).putLong(fact.wallMs);
                put(common(fact.boot));
                out.put((byte) (fact.counts ? 1 : 0)).putInt(fact.occurredOn).put(fact.kind);
                if (fact.isCaptured()) {
                    put(fact.name.getBytes(StandardCharsets.UTF_8));
                    put(common(fact.detail));
                    put(common(fact.place));
                    put(common(fact.mode));
                } else {
                    put(common(fact.name));
                    put(common(fact.detail));
                    out.putLong(fact.observedMs);
                }
            }
            byte[] bytes = new byte[out.position()];
            out.flip().get(bytes);
            return bytes;
        }

        List<Fact> decode(byte[] bytes) {
            if (bytes.length == 0) {
                return List.of();
            }
            ByteBuffer in = ByteBuffer.wrap(bytes);
            int count = in.getShort();
            List<Fact> facts = new ArrayList<>(count);
            for (int i = 0; i < count; i++) {
                String producer = text(in);
                int epoch = in.getInt();
                long seq = in.getLong();
                long variant = in.getLong();
                long knownMs = in.getLong();
                long wallMs = in.getLong();
                String boot = text(in);
                boolean counts = in.get() == 1;
                int occurredOn = in.getInt();
                byte kind = in.get();
                String name = text(in);
                String detail = text(in);
                String place = kind == CAPTURED ? text(in) : "";
                String mode = kind == CAPTURED ? text(in) : "";
                long observedMs = kind == CAPTURED ? 0 : in.getLong();
                facts.add(
                        new Fact(
                                producer, epoch, seq, variant, knownMs, wallMs, boot, counts,
                                occurredOn, kind, name, detail, place, mode, observedMs));
            }
            return facts;
        }

        private byte[] common(String text) {
            byte[] bytes = encoded.get(text);
            if (bytes == null) {
                bytes = text.getBytes(StandardCharsets.UTF_8);
                if (encoded.size() < COMMON_MAX) {
                    encoded.put(text, bytes);
                }
            }
            return bytes;
        }

        private void put(byte[] text) {
            out.putShort((short) text.length).put(text);
        }

        private static String text(ByteBuffer in) {
            int length = in.getShort() & 0xffff;
            String text = new String(in.array(), in.position(), length, StandardCharsets.UTF_8);
            in.position(in.position() + length);
            return text;
        }

        private void reserve(int bytes) {
            if (out.remaining() < bytes) {
                ByteBuffer wider = ByteBuffer.allocate(2 * out.capacity() + bytes);
                out = wider.put(out.flip());
            }
        }
    }
}
