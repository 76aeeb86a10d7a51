import java.util.HashMap;
import java.util.Map;
import java.util.TreeMap;

/** A producer under its lock: what the registry says of it, and what it last said of itself. */
final class Producer {
    private static final long AHEAD_MS_MAX = 24 * 3600 * 1000L;

    final String name;
    final String kind;
    final long enrolledMs;
    long beatMs;
    String beat = "";
    long contactMs;
    private final Map<String, Long> anchors = new HashMap<>();

    Producer(String name, String kind, long enrolledMs) {
        this.name = name;
        this.kind = kind;
        this.enrolledMs = enrolledMs;
    }

    /** Takes an event that the producer states of itself. */
    void take(Event event) {
        switch (event.type) {
            case "device.clock_anchored.v1" -> anchors.put(event.anchoredBoot, event.offsetMs);
            case "device.heartbeat.v1" -> {
                if (event.wallMs >= beatMs) {
                    beatMs = event.wallMs;
                    beat = event.queueEvents + " " + event.route + " " + event.software;
                }
            }
            default -> {}
        }
    }

    boolean mayState(String type) {
        return switch (type) {
            case "recording.captured.v1" -> kind.equals("recorder");
            case "centre.status_observed.v1" -> kind.equals("centre");
            default -> true;
        };
    }

    /** Returns the office's day of an event, or DATE_UNKNOWN when its clock cannot be trusted. */
    int occurredOn(Event event, long knownMs, Calendar calendar) {
        Long offset = anchors.get(event.boot);
        if (offset == null) {
            return Person.DATE_UNKNOWN;
        }
        long happenedMs = event.wallMs + offset;
        return happenedMs < enrolledMs || happenedMs > knownMs + AHEAD_MS_MAX
                ? Person.DATE_UNKNOWN
                : calendar.day(happenedMs);
    }

    String anchors() {
        StringBuilder text = new StringBuilder();
        new TreeMap<>(anchors)
                .forEach((boot, offset) -> text.append(boot).append('\t').append(offset).append('\n'));
        return text.toString();
    }

    void setAnchors(String text) {
        text.lines()
                .forEach(
                        line -> {
                            int tab = line.lastIndexOf('\t');
                            anchors.put(line.substring(0, tab), Long.valueOf(line.substring(tab + 1)));
                        });
    }
}
