import java.util.List;

/** An authentic, opened segment and where it stands in the log. */
record Segment(
        long offset,
        long appendMs,
        String producer,
        int epoch,
        long first,
        int count,
        byte[] prev,
        byte[] hash,
        long sealedMs,
        List<Event> events) {

    long last() {
        return first + count - 1;
    }
}
