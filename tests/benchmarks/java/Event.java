/** One line of a segment; which fields are set depends on the type. */
final class Event {
    long seq;
    String type;
    long wallMs;
    long monoMs;
    String boot;
    String nik;
    Token token;

    String recording;
    String domicile;
    String place;
    String mode;

    String status;
    String source;
    long observedMs;

    String anchoredBoot;
    long offsetMs;

    long queueEvents;
    String route;
    String software;
}
