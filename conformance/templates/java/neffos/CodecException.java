package neffos;

/** A payload that the codec does not accept, or a message that no payload can carry unchanged. */
public final class CodecException extends IllegalArgumentException {
    private static final long serialVersionUID = 1;

    /** Why; the words are those of the test vectors. */
    public enum Reason {
        EMPTY, PAYLOAD_TOO_LARGE, FIELD_TOO_LONG, UTF8, SEPARATORS, FLAG,
        HANDSHAKE_LETTER, HANDSHAKE_TRAILING, HANDSHAKE_BINARY, HANDSHAKE_ID,
        WAIT_SEPARATOR, ESCAPE_LITERAL, EMPTY_ERROR_TEXT, NO_WAIT,
        NATIVE_MODE, NATIVE_LOOKS_LIKE_FRAME;

        @Override
        public String toString() {
            return name().toLowerCase().replace('_', '-');
        }
    }

    private final Reason reason;
    private final int offset;
    private final String field;

    /**
     * @param offset where: in characters of a text, in bytes of a binary payload, or in characters
     *     of the field if a message was refused
     * @param field the field concerned, or null
     */
    CodecException(Reason reason, int offset, String field) {
        super(reason + " at offset " + offset + (field == null ? "" : " in " + field));
        this.reason = reason;
        this.offset = offset;
        this.field = field;
    }

    public Reason reason() {
        return reason;
    }

    public int offset() {
        return offset;
    }

    /** The field concerned, or null. */
    public String field() {
        return field;
    }
}
