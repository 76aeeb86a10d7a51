import java.time.Instant;
import java.time.LocalDate;
import java.time.ZoneId;
import java.time.zone.ZoneRules;

/** The office's days, as days since 1970. */
final class Calendar {
    private final ZoneRules rules;

    Calendar(String zone) {
        rules = ZoneId.of(zone).getRules();
    }

    int day(long ms) {
        long offset = 1000L * rules.getOffset(Instant.ofEpochMilli(ms)).getTotalSeconds();
        return (int) Math.floorDiv(ms + offset, 86_400_000L);
    }

    /** For PostgreSQL: a day that is not known is `infinity`. */
    static LocalDate date(int day) {
        return day == Person.DATE_UNKNOWN ? LocalDate.MAX : LocalDate.ofEpochDay(day);
    }

    static int month(int day) {
        return day == Person.DATE_UNKNOWN
                ? day
                : (int) LocalDate.ofEpochDay(day).withDayOfMonth(1).toEpochDay();
    }

    static int year(int day) {
        return day == Person.DATE_UNKNOWN
                ? day
                : (int) LocalDate.ofEpochDay(day).withDayOfYear(1).toEpochDay();
    }
}
