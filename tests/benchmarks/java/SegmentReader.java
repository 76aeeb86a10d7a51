import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import com.github.luben.zstd.Zstd;
import com.github.luben.zstd.ZstdDecompressCtx;
import java.io.IOException;
import java.math.BigInteger;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.security.GeneralSecurityException;
import java.security.KeyFactory;
import java.security.MessageDigest;
import java.security.PrivateKey;
import java.security.PublicKey;
import java.security.Signature;
import java.security.spec.EdECPoint;
import java.security.spec.EdECPublicKeySpec;
import java.security.spec.NamedParameterSpec;
import java.security.spec.XECPrivateKeySpec;
import java.security.spec.XECPublicKeySpec;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import javax.crypto.Cipher;
import javax.crypto.KeyAgreement;
import javax.crypto.Mac;
import javax.crypto.spec.GCMParameterSpec;
import javax.crypto.spec.SecretKeySpec;

/**
 * Parses, verifies, decrypts, decompresses and decodes segments: docs/segment-v1.md, with what the
 * JDK has. Keeps its primitives between records, so it serves one thread.
 */
final class SegmentReader {
    private static final int MAGIC = 0x524b4d31;
    private static final int HEADER_BYTES_MAX = 4096;
    private static final int SIGNATURE_BYTES = 64;
    private static final int BODY_BYTES_MIN = 48;
    private static final int BODY_BYTES_MAX = 262_144;
    private static final int PLAIN_BYTES_MAX = 4 * 1024 * 1024;
    private static final int PLAIN_BYTES_FREE = 65_537;
    private static final int EXPANSION_MAX = 100;
    private static final int LINE_BYTES_MAX = 65_536;
    private static final int NIK_DIGITS = 16;
    private static final HexFormat HEX = HexFormat.of();
    private static final byte[] KEM = suite("KEM", 0x20);
    private static final byte[] HPKE = suite("HPKE", 0x20, 1, 1);
    private static final byte[] NOTHING = {};
    private static final String PAE =
            "DSSEv1 44 application/vnd.rekam.segment-header.v1+json ";

    private final JsonFactory json = new JsonFactory();
    private final Map<String, Signature> verifiers = new HashMap<>();
    private final PrivateKey reader;
    private final byte[] readerPublic;
    private final String readerId;
    private final Blake2b tokens;
    private final MessageDigest sha256 = MessageDigest.getInstance("SHA-256");
    private final Mac hmac = Mac.getInstance("HmacSHA256");
    private final KeyAgreement x25519 = KeyAgreement.getInstance("X25519");
    private final KeyFactory xKeys = KeyFactory.getInstance("X25519");
    private final Cipher gcm = Cipher.getInstance("AES/GCM/NoPadding");
    private final ZstdDecompressCtx zstd = new ZstdDecompressCtx();
    private final byte[] pskIdHash;

    SegmentReader(
            Iterable<byte[]> producerKeys, byte[] readerSeed, byte[] readerPublic, Blake2b tokens)
            throws GeneralSecurityException {
        for (byte[] raw : producerKeys) {
            Signature verifier = Signature.getInstance("Ed25519");
            verifier.initVerify(ed25519Key(raw)); // once: it decodes the point
            verifiers.put(keyId(raw), verifier);
        }
        this.reader =
                xKeys.generatePrivate(new XECPrivateKeySpec(NamedParameterSpec.X25519, readerSeed));
        this.readerPublic = readerPublic;
        this.readerId = keyId(readerPublic);
        this.tokens = tokens;
        this.pskIdHash = labeledExtract(HPKE, NOTHING, "psk_id_hash", NOTHING);
    }

    /** Opens one record. Whatever is wrong with it is an exception: nothing is held or quarantined. */
    Segment open(long offset, long appendMs, byte[] record)
            throws GeneralSecurityException, IOException {
        ByteBuffer frame = ByteBuffer.wrap(record);
        require(record.length >= 8 + SIGNATURE_BYTES + BODY_BYTES_MIN, "truncated");
        require(frame.getInt() == MAGIC, "not_a_segment");
        int headerBytes = frame.getInt();
        require(headerBytes >= 1 && headerBytes <= HEADER_BYTES_MAX, "header_too_large");
        int bodyAt = 8 + headerBytes + SIGNATURE_BYTES;
        int bodyBytes = record.length - bodyAt;
        require(bodyBytes >= BODY_BYTES_MIN && bodyBytes <= BODY_BYTES_MAX, "body_too_large");
        Header header = header(record, 8, headerBytes);

        Signature verifier = verifiers.get(header.key);
        require(verifier != null, "unknown_key");
        verifier.update((PAE + headerBytes + " ").getBytes(StandardCharsets.US_ASCII));
        verifier.update(record, 8, headerBytes);
        require(verifier.verify(record, 8 + headerBytes, SIGNATURE_BYTES), "signature_invalid");
        sha256.update(record, bodyAt, bodyBytes);
        require(MessageDigest.isEqual(sha256.digest(), HEX.parseHex(header.body)), "body_mismatch");
        require(header.reader.equals(readerId), "unknown_reader");

        byte[] plain = decompress(decrypt(record, bodyAt, bodyBytes, header));
        List<Event> events = lines(plain, header);
        sha256.update(record, 8, headerBytes);
        return new Segment(
                offset,
                appendMs,
                header.producer,
                header.epoch,
                header.first,
                header.count,
                HEX.parseHex(header.prev),
                sha256.digest(),
                header.sealedMs,
                events);
    }

    // Frame -------------------------------------------------------------------------------------

    private static final class Header {
        String producer;
        int epoch;
        long first;
        int count;
        String prev;
        String body;
        long sealedMs;
        String key;
        String reader;
    }

    private Header header(byte[] record, int from, int length) throws IOException {
        Header header = new Header();
        try (JsonParser parser = json.createParser(record, from, length)) {
            require(parser.nextToken() == JsonToken.START_OBJECT, "header_invalid");
            while (parser.nextToken() != JsonToken.END_OBJECT) {
                String name = parser.currentName();
                parser.nextToken();
                switch (name) {
                    case "v" -> require(parser.getIntValue() == 1, "unknown_version");
                    case "producer" -> header.producer = parser.getText();
                    case "epoch" -> header.epoch = parser.getIntValue();
                    case "first" -> header.first = parser.getLongValue();
                    case "count" -> header.count = parser.getIntValue();
                    case "prev" -> header.prev = parser.getText();
                    case "body" -> header.body = parser.getText();
                    case "sealed" -> {
                        while (parser.nextToken() != JsonToken.END_OBJECT) {
                            String clock = parser.currentName();
                            parser.nextToken();
                            if (clock.equals("wall_ms")) {
                                header.sealedMs = parser.getLongValue();
                            }
                        }
                    }
                    case "key" -> header.key = parser.getText();
                    case "reader" -> header.reader = parser.getText();
                    default -> require(false, "header_invalid");
                }
            }
        }
        require(
                header.producer != null && header.prev != null && header.body != null
                        && header.key != null && header.reader != null && header.epoch >= 1
                        && header.first >= 1 && header.count >= 1 && header.count <= 500,
                "header_invalid");
        return header;
    }

    // Body: HPKE base mode, single shot (RFC 9180), then zstd -----------------------------------

    private byte[] decrypt(byte[] record, int bodyAt, int bodyBytes, Header header)
            throws GeneralSecurityException {
        byte[] enc = Arrays.copyOfRange(record, bodyAt, bodyAt + 32);
        x25519.init(reader);
        x25519.doPhase(x25519Key(enc), true);
        byte[] dh = x25519.generateSecret(); // raises for an all-zero result
        byte[] prk = labeledExtract(KEM, NOTHING, "eae_prk", dh);
        byte[] shared =
                labeledExpand(KEM, prk, "shared_secret", concatenated(enc, readerPublic), 32);
        String info =
                "{\"producer\":\"" + header.producer + "\",\"epoch\":" + header.epoch
                        + ",\"first\":" + header.first + ",\"count\":" + header.count
                        + ",\"prev\":\"" + header.prev + "\",\"reader\":\"" + header.reader + "\"}";
        byte[] infoHash =
                labeledExtract(
                        HPKE, NOTHING, "info_hash", info.getBytes(StandardCharsets.UTF_8));
        byte[] context = concatenated(new byte[1], pskIdHash, infoHash);
        byte[] secret = labeledExtract(HPKE, shared, "secret", NOTHING);
        byte[] key = labeledExpand(HPKE, secret, "key", context, 16);
        byte[] nonce = labeledExpand(HPKE, secret, "base_nonce", context, 12);
        gcm.init(
                Cipher.DECRYPT_MODE,
                new SecretKeySpec(key, "AES"),
                new GCMParameterSpec(128, nonce));
        return gcm.doFinal(record, bodyAt + 32, bodyBytes - 32);
    }

    private byte[] decompress(byte[] packed) {
        long declared = Zstd.getFrameContentSize(packed);
        require(declared >= 0 && declared <= PLAIN_BYTES_MAX, "body_expands_too_much");
        require(
                declared <= PLAIN_BYTES_FREE || declared <= (long) EXPANSION_MAX * packed.length,
                "body_expands_too_much");
        byte[] plain = zstd.decompress(packed, (int) declared);
        require(plain.length == declared, "body_undecodable");
        return plain;
    }

    private byte[] labeledExtract(byte[] suite, byte[] salt, String label, byte[] ikm)
            throws GeneralSecurityException {
        hmac.init(new SecretKeySpec(salt.length == 0 ? new byte[32] : salt, "HmacSHA256"));
        labeled(suite, label);
        return hmac.doFinal(ikm);
    }

    /** For at most 32 bytes: one block. */
    private byte[] labeledExpand(byte[] suite, byte[] prk, String label, byte[] info, int length)
            throws GeneralSecurityException {
        hmac.init(new SecretKeySpec(prk, "HmacSHA256"));
        hmac.update((byte) 0);
        hmac.update((byte) length);
        labeled(suite, label);
        hmac.update(info);
        hmac.update((byte) 1);
        byte[] block = hmac.doFinal();
        return length == block.length ? block : Arrays.copyOf(block, length);
    }

    private void labeled(byte[] suite, String label) {
        hmac.update("HPKE-v1".getBytes(StandardCharsets.US_ASCII));
        hmac.update(suite);
        hmac.update(label.getBytes(StandardCharsets.US_ASCII));
    }

    // Lines -------------------------------------------------------------------------------------

    private List<Event> lines(byte[] plain, Header header) throws IOException {
        List<Event> events = new ArrayList<>(header.count);
        int from = 0;
        for (int at = 0; at < plain.length; at++) {
            if (plain[at] == '\n') {
                require(at - from <= LINE_BYTES_MAX, "event_too_large");
                Event event = event(plain, from, at - from);
                event.seq = header.first + events.size();
                events.add(event);
                from = at + 1;
            }
        }
        require(from == plain.length && events.size() == header.count, "count_mismatch");
        return events;
    }

    private Event event(byte[] plain, int from, int length) throws IOException {
        Event event = new Event();
        try (JsonParser parser = json.createParser(plain, from, length)) {
            require(parser.nextToken() == JsonToken.START_OBJECT, "not_json");
            while (parser.nextToken() != JsonToken.END_OBJECT) {
                String name = parser.currentName();
                parser.nextToken();
                switch (name) {
                    case "type" -> event.type = parser.getText();
                    case "wall_ms" -> event.wallMs = parser.getLongValue();
                    case "mono_ms" -> event.monoMs = parser.getLongValue();
                    case "boot" -> event.boot = parser.getText();
                    case "data" -> data(parser, event);
                    default -> require(false, "unknown_field");
                }
            }
            require(parser.nextToken() == null, "not_json");
        }
        require(event.type != null && event.boot != null, "schema_invalid");
        if (event.nik != null) {
            require(event.nik.length() == NIK_DIGITS, "schema_invalid");
            for (int i = 0; i < NIK_DIGITS; i++) {
                require(event.nik.charAt(i) >= '0' && event.nik.charAt(i) <= '9', "schema_invalid");
            }
            event.token = tokens.token(event.nik.getBytes(StandardCharsets.US_ASCII));
        }
        switch (event.type) {
            case "recording.captured.v1" ->
                    require(
                            event.nik != null && event.recording != null && event.domicile != null
                                    && event.place != null && event.mode != null,
                            "schema_invalid");
            case "centre.status_observed.v1" ->
                    require(
                            event.nik != null && event.status != null && event.source != null,
                            "schema_invalid");
            case "device.clock_anchored.v1" ->
                    require(event.anchoredBoot != null, "schema_invalid");
            case "device.heartbeat.v1" -> {}
            default -> require(false, "unknown_type");
        }
        return event;
    }

    private static void data(JsonParser parser, Event event) throws IOException {
        while (parser.nextToken() != JsonToken.END_OBJECT) {
            String name = parser.currentName();
            parser.nextToken();
            switch (name) {
                case "recording" -> event.recording = parser.getText();
                case "nik" -> event.nik = parser.getText();
                case "domicile" -> event.domicile = parser.getText();
                case "place" -> event.place = parser.getText();
                case "mode" -> event.mode = parser.getText();
                case "status" -> event.status = parser.getText();
                case "source" -> event.source = parser.getText();
                case "observed_ms" -> event.observedMs = parser.getLongValue();
                case "anchored_boot" -> event.anchoredBoot = parser.getText();
                case "offset_ms" -> event.offsetMs = parser.getLongValue();
                case "queue_events" -> event.queueEvents = parser.getLongValue();
                case "route" -> event.route = parser.getText();
                case "software" -> event.software = parser.getText();
                case "operator" -> {}
                case "components", "quality" -> parser.skipChildren();
                default -> require(false, "unknown_field");
            }
        }
    }

    // Keys --------------------------------------------------------------------------------------

    private String keyId(byte[] raw) {
        return HEX.formatHex(Arrays.copyOf(sha256.digest(raw), 16));
    }

    private static PublicKey ed25519Key(byte[] raw) throws GeneralSecurityException {
        byte[] y = reversed(raw);
        boolean isXOdd = (y[0] & 0x80) != 0;
        y[0] &= 0x7f;
        EdECPoint point = new EdECPoint(isXOdd, new BigInteger(1, y));
        return KeyFactory.getInstance("Ed25519")
                .generatePublic(new EdECPublicKeySpec(NamedParameterSpec.ED25519, point));
    }

    private PublicKey x25519Key(byte[] raw) throws GeneralSecurityException {
        byte[] u = reversed(raw);
        u[0] &= 0x7f;
        return xKeys.generatePublic(
                new XECPublicKeySpec(NamedParameterSpec.X25519, new BigInteger(1, u)));
    }

    private static byte[] reversed(byte[] raw) {
        byte[] turned = new byte[raw.length];
        for (int i = 0; i < raw.length; i++) {
            turned[i] = raw[raw.length - 1 - i];
        }
        return turned;
    }

    private static byte[] suite(String name, int... ids) {
        ByteBuffer buffer = ByteBuffer.allocate(name.length() + 2 * ids.length);
        buffer.put(name.getBytes(StandardCharsets.US_ASCII));
        for (int id : ids) {
            buffer.putShort((short) id);
        }
        return buffer.array();
    }

    private static byte[] concatenated(byte[]... parts) {
        ByteBuffer buffer =
                ByteBuffer.allocate(Arrays.stream(parts).mapToInt(part -> part.length).sum());
        for (byte[] part : parts) {
            buffer.put(part);
        }
        return buffer.array();
    }

    private static void require(boolean isMet, String code) {
        if (!isMet) {
            throw new IllegalArgumentException(code);
        }
    }
}
