package neffos;

/** What a payload of an open connection is: a frame, or a native message. */
public sealed interface Message permits Frame, Message.Native {
    /** A payload that is not a frame (NM-1). */
    record Native(Payload payload) implements Message {}

    /** What becomes of payloads that are not frames (NM-1, NM-2). */
    enum NativeMode {
        /** They are ignored. */
        NEVER,
        /** They are native messages, beside frames. */
        FALLBACK,
        /** There are no frames and no handshake: every payload is a native message. */
        ONLY
    }
}
