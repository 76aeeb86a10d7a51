import java.util.Comparator;
import java.util.HashMap;
import java.util.Map;

/** Differences of one transaction, by cell. */
final class Cells {
    record Coverage(String desa, int occurredOn, int knownOn, String producer, String mode) {}

    record Span(String desa, int occurred, int known) {}

    record Verification(String desa, String status) {}

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

    final Map<Coverage, Long> coverage = new HashMap<>();
    final Map<Span, Long> duplicates = new HashMap<>();
    final Map<Verification, Long> verification = new HashMap<>();

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
