import java.util.Comparator;
import java.util.HashMap;
import java.util.Map;

/** Differences of one transaction, by cell. */
final class Cells {
    record Coverage(String desa, int occurredOn, int knownOn, String producer, String mode) {}

    record Span(String desa, int occurred, int known) {}

    record Verification(String desa, String status) {}

    record Age(String desa, String status, int sinceOn) {}

    record Turn(String desa, String turn, String before, String after) {}

    /** Of an open one: nothing in the log resolves any. */
    record Case(String id, String kind, String desa, int sinceOn, Token token) {}

    record Device(String producer, String caseId) {}

    // Rows are locked in one order by everybody.
    static final Comparator<Coverage> COVERAGE_ORDER =
            Comparator.comparing(Coverage::desa)
                    .thenComparingInt(Coverage::occurredOn)
                    .thenComparingInt(Coverage::knownOn)
                    .thenComparing(Coverage::producer)
                    .thenComparing(Coverage::mode);
    static final Comparator<Span> SPAN_ORDER =
            Comparator.comparing(Span::desa)
                    .thenComparingInt(Span::occurred)
                    .thenComparingInt(Span::known);
    static final Comparator<Verification> VERIFICATION_ORDER =
            Comparator.comparing(Verification::desa).thenComparing(Verification::status);
    static final Comparator<Age> AGE_ORDER =
            Comparator.comparing(Age::desa)
                    .thenComparing(Age::status)
                    .thenComparingInt(Age::sinceOn);
    static final Comparator<Turn> TURN_ORDER =
            Comparator.comparing(Turn::desa)
                    .thenComparing(Turn::turn)
                    .thenComparing(Turn::before)
                    .thenComparing(Turn::after);
    static final Comparator<Case> CASE_ORDER =
            Comparator.comparing(Case::id)
                    .thenComparing(Case::kind)
                    .thenComparing(Case::desa)
                    .thenComparingInt(Case::sinceOn)
                    .thenComparing(Case::token);
    static final Comparator<Device> DEVICE_ORDER =
            Comparator.comparing(Device::producer).thenComparing(Device::caseId);

    final Map<Coverage, Long> coverage = new HashMap<>();
    final Map<Span, Long> duplicates = new HashMap<>();
    final Map<Verification, Long> verification = new HashMap<>();
    final Map<Age, Long> ages = new HashMap<>();
    final Map<Turn, Long> turns = new HashMap<>();
    final Map<Case, Long> cases = new HashMap<>();
    final Map<Device, Long> devices = new HashMap<>();

    void coverage(String desa, int occurredOn, int knownOn, Person.Fact cause, long people) {
        coverage.merge(
                new Coverage(desa, occurredOn, knownOn, cause.producer(), cause.mode()),
                people,
                Long::sum);
    }

    void duplicate(String desa, int occurredOn, int knownOn, long people) {
        duplicates.merge(new Span(desa, occurredOn, knownOn), people, Long::sum);
    }

    void verification(String desa, String status, long people) {
        verification.merge(new Verification(desa, status), people, Long::sum);
    }

    void age(String desa, String status, int sinceOn, long people) {
        ages.merge(new Age(desa, status, sinceOn), people, Long::sum);
    }

    void turn(String desa, String turn, Vocabulary.Step step, long people) {
        turns.merge(new Turn(desa, turn, step.before(), step.after()), people, Long::sum);
    }

    void duplicateCase(Case one, long people) {
        cases.merge(one, people, Long::sum);
    }

    void device(String producer, String caseId, long recordings) {
        devices.merge(new Device(producer, caseId), recordings, Long::sum);
    }

    /** Coverage by whole months: of each cell the month in which it lies. */
    Map<Span, Long> months() {
        Map<Span, Long> months = new HashMap<>();
        coverage.forEach(
                (cell, people) ->
                        months.merge(
                                new Span(
                                        cell.desa,
                                        Calendar.month(cell.occurredOn),
                                        Calendar.month(cell.knownOn)),
                                people,
                                Long::sum));
        return months;
    }

    static Map<Span, Long> years(Map<Span, Long> months) {
        Map<Span, Long> years = new HashMap<>();
        months.forEach(
                (cell, people) ->
                        years.merge(
                                new Span(
                                        cell.desa,
                                        Calendar.year(cell.occurred),
                                        Calendar.year(cell.known)),
                                people,
                                Long::sum));
        return years;
    }
}
