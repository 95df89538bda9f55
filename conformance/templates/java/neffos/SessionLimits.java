package neffos;

/**
 * How much a peer can make a session keep (SEC-2 to SEC-7).
 *
 * @param payload bytes of one payload; more ends the session
 * @param held messages kept before the handshake is complete (SEC-3); more ends the session
 * @param heldSize their bytes together; more ends the session
 * @param namespaces connected namespaces, and those that are decided on (SEC-5)
 * @param rooms rooms of all namespaces together (SEC-6)
 * @param name characters of a namespace, a room or an event
 * @param token characters of a token
 * @param incomingAsks asks of the peer that the application has not answered (SEC-7)
 * @param repeats asks for one change while the application decides on it
 * @param outgoingAsks pending asks of this peer
 */
public record SessionLimits(
        int payload,
        int held,
        int heldSize,
        int namespaces,
        int rooms,
        int name,
        int token,
        int incomingAsks,
        int repeats,
        int outgoingAsks) {
    /** Far above what peers were seen to use, and far below the memory of a process. */
    public static final SessionLimits USUAL =
            new SessionLimits(16 << 20, 64, 256 << 10, 64, 1024, 256, 256, 1024, 8, 1024);
}
