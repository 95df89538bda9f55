package neffos;

/** What a session reports to the application. */
public sealed interface Event {
    /** Why something began or ended. */
    enum Cause {
        /** This peer asked for it. */
        LOCAL,
        /** The other peer asked for it. */
        PEER,
        /** Its namespace or its connection ended. */
        FORCED,
        /** The other peer violated a requirement. */
        VIOLATION;

        @Override
        public String toString() {
            return name().toLowerCase();
        }
    }

    /** The handshake is complete (HS-3). */
    record Opened(String id) implements Event {}

    /** The server refused the handshake (HS-4). {@code Closed} follows. */
    record HandshakeRefused(String text) implements Event {}

    /** A client requests the handshake; {@code accept} or {@code refuse} answers. */
    record HandshakeAsked() implements Event {}

    /** The peer asks for a change of membership; {@code allow} or {@code deny} answers. */
    record ChangeAsked(int number, Change change, String namespace, String room) implements Event {}

    /** A namespace is now connected or disconnected, or a room joined or left. */
    record Changed(Change change, String namespace, String room, Cause cause) implements Event {}

    /** The peer refused a change of membership that this peer asked for, with this token. */
    record ChangeRefused(String token, Change change, String namespace, String room, String text)
            implements Event {}

    /** An event without a token, or an error that answers no ask. */
    record Received(Frame frame) implements Event {}

    /** An event that asks for a reply: {@code reply}, {@code replyError} or {@code ignore} it. */
    record Asked(int number, Frame frame) implements Event {}

    /** The reply to an event ask of this peer. If it is an error, the body is the error text. */
    record Replied(String token, Frame frame) implements Event {}

    /** The deadline of an ask has passed (AR-15). A change of membership may still happen. */
    record AskExpired(String token) implements Event {}

    /** An ask gets no reply: its namespace or the connection ended (AR-14, NS-18). */
    record AskCancelled(String token) implements Event {}

    /** An {@code Asked} or {@code ChangeAsked} must not be answered any more. */
    record AskWithdrawn(int number) implements Event {}

    /** A reply to no pending ask: late, repeated or made up (AR-21). */
    record UnmatchedReply(Frame frame) implements Event {}

    /** A native message, or the body of a frame that carried one (NM-2, NM-5). */
    record NativeReceived(Payload payload, String namespace) implements Event {}

    /** The peer violated a requirement, or exceeded a bound. */
    record ProtocolViolation(String requirement, String explanation) implements Event {}

    /** The session has ended. */
    record Closed(Cause cause) implements Event {}
}
