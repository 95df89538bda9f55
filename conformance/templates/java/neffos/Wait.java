package neffos;

/**
 * What the wait field of a frame says.
 *
 * @param kind who made the token
 * @param token the token by which a pending ask is found: the field without the exchange marker;
 *     empty if the field names a sender
 * @param isFromExchange whether the exchange marker was there (SX-2)
 * @param sender the explicit sender, or empty (SX-1)
 */
public record Wait(Kind kind, String token, boolean isFromExchange, String sender) {
    /** The tokens of clients begin with it (AR-2), and no others do (AR-3). */
    static final String CLIENT_PREFIX = "$";

    /** The second byte of a token that crossed a stack exchange (SX-2). */
    static final char EXCHANGE_MARKER = '!';

    private static final String CONFIRMATION_PREFIX = "#";
    private static final String SENDER_PREFIX = "neffos(0x";

    /** Who made a token. */
    public enum Kind {
        NONE, CLIENT_ASK, SERVER_ASK, CONFIRMATION, EXPLICIT_SENDER;

        @Override
        public String toString() {
            return name().toLowerCase().replace('_', '-');
        }
    }

    /** Parses a wait field; every text means something. */
    public static Wait parse(String field) {
        if (field.isEmpty()) {
            return new Wait(Kind.NONE, "", false, "");
        }
        if (field.startsWith(SENDER_PREFIX)) {
            return new Wait(Kind.EXPLICIT_SENDER, "", false, field);
        }
        char first = field.charAt(0);
        boolean isOneByte = first < 0x80 || first >= 0xDC80 && first <= 0xDCFF;
        boolean isMarked = isOneByte && field.length() > 2 && field.charAt(1) == EXCHANGE_MARKER;
        String token = isMarked ? (char) (first & 0xFF) + field.substring(2) : field;
        Kind kind = token.startsWith(CONFIRMATION_PREFIX) ? Kind.CONFIRMATION
                : token.startsWith(CLIENT_PREFIX) ? Kind.CLIENT_ASK
                : Kind.SERVER_ASK;
        return new Wait(kind, token, isMarked, "");
    }
}
