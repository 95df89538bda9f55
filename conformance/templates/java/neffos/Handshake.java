package neffos;

import neffos.Codec.Decoding;
import neffos.CodecException.Reason;

/**
 * The three messages of the handshake, which are not frames (HS-1 to HS-6). An ID is all that follows
 * the A (HS-19).
 */
public sealed interface Handshake {
    /** {@code M}: the client requests the handshake (HS-1). */
    record Request() implements Handshake {}

    /** {@code A} and the connection's ID: the server accepts (HS-3). */
    record Acceptance(String id) implements Handshake {}

    /** {@code H} and a text for people: the server refuses, and closes (HS-4). */
    record Refusal(String text) implements Handshake {}

    /**
     * Decodes a payload that came before the handshake was complete. The lenient decoding looks
     * only at the first letter.
     *
     * @throws CodecException it is none of the three
     */
    static Handshake decode(Payload payload, Decoding decoding) {
        if (payload.isEmpty()) {
            throw new CodecException(Reason.EMPTY, 0, null);
        }
        byte letter = payload.bytes()[0];
        if (letter != 'M' && letter != 'A' && letter != 'H') {
            throw new CodecException(Reason.HANDSHAKE_LETTER, 0, null);
        }
        String rest = payload.text().substring(1);
        if (decoding == Decoding.STRICT) {
            if (payload.isBinary()) {
                throw new CodecException(Reason.HANDSHAKE_BINARY, 0, null); // HS-5
            }
            Codec.checkUtf8(payload.text(), null);
            if (letter == 'M' && !rest.isEmpty()) {
                throw new CodecException(Reason.HANDSHAKE_TRAILING, 1, null); // HS-2
            }
            if (letter == 'A' && rest.isEmpty()) {
                throw new CodecException(Reason.HANDSHAKE_ID, 1, null); // HS-6
            }
        }
        return switch (letter) {
            case 'M' -> new Request();
            case 'A' -> new Acceptance(rest);
            default -> new Refusal(rest);
        };
    }

    /**
     * Encodes a handshake message, as text (HS-5).
     *
     * @throws CodecException the ID is empty (HS-6), or a text has no UTF-8 form (FR-12)
     */
    static Payload encode(Handshake message) {
        if (message instanceof Acceptance acceptance) {
            if (acceptance.id.isEmpty()) {
                throw new CodecException(Reason.HANDSHAKE_ID, 0, "id");
            }
            Codec.checkUtf8(acceptance.id, "id");
            return Payload.text("A" + acceptance.id);
        }
        if (message instanceof Refusal refusal) {
            Codec.checkUtf8(refusal.text, "text");
            return Payload.text("H" + refusal.text);
        }
        return Payload.text("M");
    }
}
