import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.HexFormat;
import java.util.List;

/** Cases of duplicates: named by a keyed hash, so that nobody is known by the name. */
final class Cases {
    static final String TWO_RECORDINGS = "two_recordings";
    static final String CENTRE_DUPLICATE = "centre_duplicate";
    private static final int ID_BYTES = 12;

    private final Blake2b hash;

    Cases(byte[] personKey) {
        hash = new Blake2b(personKey, ID_BYTES, "rekam.case");
    }

    /** Adds a case of a person, and whose recordings it is about. */
    void open(
            Token token,
            String kind,
            String desa,
            int sinceOn,
            List<Person.Fact> standing,
            long sign,
            Cells cells) {
        byte[] name = kind.getBytes(StandardCharsets.US_ASCII);
        byte[] message =
                ByteBuffer.allocate(Token.BYTES + name.length).put(token.bytes()).put(name).array();
        String id = HexFormat.of().formatHex(hash.hash(message).bytes(), 0, ID_BYTES);
        cells.duplicateCase(new Cells.Case(id, kind, desa, sinceOn, token), sign);
        for (Person.Fact fact : standing) {
            cells.device(fact.producer(), id, sign);
        }
    }
}
