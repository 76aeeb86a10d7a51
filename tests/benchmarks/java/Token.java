import java.nio.ByteBuffer;

/** What tables hold in place of a NIK; ordered as PostgreSQL orders bytea. */
record Token(long high, long low) implements Comparable<Token> {
    static final int BYTES = 16;

    static Token of(byte[] bytes) {
        ByteBuffer in = ByteBuffer.wrap(bytes);
        return new Token(in.getLong(), in.getLong());
    }

    byte[] bytes() {
        return ByteBuffer.allocate(BYTES).putLong(high).putLong(low).array();
    }

    @Override
    public int compareTo(Token other) {
        int order = Long.compareUnsigned(high, other.high);
        return order != 0 ? order : Long.compareUnsigned(low, other.low);
    }

    @Override
    public int hashCode() { // it is a hash already
        return Long.hashCode(low);
    }
}
