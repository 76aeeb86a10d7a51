import java.util.ArrayDeque;
import java.util.Deque;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;

/** The centre's words, and what is no step forward between two of them. */
final class Vocabulary {
    static final String SENT = "SENT_FOR_ENROLLMENT";
    static final String RECORDED_HERE_ONLY = "BIO_CAPTURED";
    static final String DUPLICATE_RECORD = "DUPLICATE_RECORD";
    private static final String FAILED_AT_REGIONAL = "ENROLL_FAILURE_AT_REGIONAL";
    private static final String FAILED_AT_CENTRAL = "ENROLL_FAILURE_AT_CENTRAL";
    private static final String SEARCH_FAILED = "SEARCH_FAILURE_AT_CENTRAL";

    private static final Map<String, List<String>> STEPS =
            Map.ofEntries(
                    Map.entry("UNREGISTERED", List.of(RECORDED_HERE_ONLY)),
                    Map.entry(RECORDED_HERE_ONLY, List.of("PROCESSING")),
                    Map.entry("PROCESSING", List.of(SENT)),
                    Map.entry(SENT, List.of("RECEIVED_AT_CENTRAL", FAILED_AT_REGIONAL)),
                    Map.entry(
                            "RECEIVED_AT_CENTRAL",
                            List.of(
                                    "PRINT_READY_RECORD",
                                    FAILED_AT_CENTRAL,
                                    SEARCH_FAILED,
                                    "ADJUDICATE_RECORD",
                                    "REQUEST_VALIDATION",
                                    DUPLICATE_RECORD)),
                    Map.entry(
                            "ADJUDICATE_RECORD", List.of("PRINT_READY_RECORD", DUPLICATE_RECORD)),
                    Map.entry(
                            "REQUEST_VALIDATION", List.of("PRINT_READY_RECORD", DUPLICATE_RECORD)),
                    Map.entry("PRINT_READY_RECORD", List.of("SENT_FOR_CARD_PRINTING")),
                    Map.entry("SENT_FOR_CARD_PRINTING", List.of("CARD_PRINTED")),
                    Map.entry("CARD_PRINTED", List.of("CARD_SHIPPED")),
                    Map.entry("CARD_SHIPPED", List.of("CARD_ISSUED")),
                    Map.entry("CARD_ISSUED", List.of()),
                    Map.entry(FAILED_AT_REGIONAL, List.of()),
                    Map.entry(FAILED_AT_CENTRAL, List.of()),
                    Map.entry(SEARCH_FAILED, List.of()),
                    Map.entry(DUPLICATE_RECORD, List.of()));
    private static final Map<String, String> RESETS =
            Map.of(
                    FAILED_AT_REGIONAL, RECORDED_HERE_ONLY,
                    FAILED_AT_CENTRAL, RECORDED_HERE_ONLY,
                    SEARCH_FAILED, RECORDED_HERE_ONLY);
    private static final Map<String, String> REPRINTS =
            Map.of("CARD_ISSUED", "SENT_FOR_CARD_PRINTING");

    /** What an observation of one word after another is; nothing special is not in it. */
    record Step(String before, String after) {}

    private static final Map<Step, String> TURNS = turns();

    private Vocabulary() {}

    static boolean isKnown(String status) {
        return STEPS.containsKey(status);
    }

    /** Returns what lies between two statuses; null: nothing special. */
    static String turn(Step step) {
        return TURNS.get(step);
    }

    private static Map<Step, String> turns() {
        Map<Step, String> turns = new HashMap<>();
        for (String before : STEPS.keySet()) {
            for (String after : STEPS.keySet()) {
                if (!forward(before).contains(after)) {
                    String turn =
                            forward(RESETS.get(before)).contains(after)
                                    ? "reset"
                                    : forward(REPRINTS.get(before)).contains(after)
                                            ? "reprint"
                                            : "illegal_jump";
                    turns.put(new Step(before, after), turn);
                }
            }
        }
        return turns;
    }

    private static Set<String> forward(String status) {
        Set<String> found = new HashSet<>();
        Deque<String> left = new ArrayDeque<>();
        if (status != null) {
            left.add(status);
        }
        while (!left.isEmpty()) {
            String next = left.remove();
            if (found.add(next)) {
                left.addAll(STEPS.get(next));
            }
        }
        return found;
    }
}
